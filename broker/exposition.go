package broker

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// Series of topics, partitions and groups. There are tens of thousands of them, and a scrape has a tenth of a second: they are
// made straight in the form that is encoded, by code that cannot repeat a series, without the registry's checks of each
// (which a test makes instead).

// seriesChunk is how many series are allocated at a time.
const seriesChunk = 512

// family is a metric and its series.
type family struct {
	mf      *dto.MetricFamily
	metrics []dto.Metric
	values  []float64
	gauges  []dto.Gauge
	counts  []dto.Counter
}

// families are all that one scrape makes.
type families []*family

// add begins a metric.
func (fs *families) add(kind dto.MetricType, name, help string) *family {
	name = prometheus.BuildFQName(metricsPrefix, "", name)
	f := &family{mf: &dto.MetricFamily{Name: &name, Help: &help, Type: &kind}}
	*fs = append(*fs, f)
	return f
}

func (fs *families) gauge(name, help string) *family {
	return fs.add(dto.MetricType_GAUGE, name, help)
}

func (fs *families) counter(name, help string) *family {
	return fs.add(dto.MetricType_COUNTER, name, help)
}

// set adds a series. Labels are sorted by name; series may share them.
func (f *family) set(v float64, labels []*dto.LabelPair) {
	if len(f.metrics) == 0 {
		f.metrics, f.values = make([]dto.Metric, seriesChunk), make([]float64, seriesChunk)
		if f.mf.GetType() == dto.MetricType_GAUGE {
			f.gauges = make([]dto.Gauge, seriesChunk)
		} else {
			f.counts = make([]dto.Counter, seriesChunk)
		}
	}
	m := &f.metrics[0]
	f.values[0] = v
	m.Label = labels
	if f.mf.GetType() == dto.MetricType_GAUGE {
		f.gauges[0].Value, m.Gauge = &f.values[0], &f.gauges[0]
		f.gauges = f.gauges[1:]
	} else {
		f.counts[0].Value, m.Counter = &f.values[0], &f.counts[0]
		f.counts = f.counts[1:]
	}
	f.metrics, f.values = f.metrics[1:], f.values[1:]
	f.mf.Metric = append(f.mf.Metric, m)
}

// labels makes label pairs of names and values in turn; names are in order.
func labels(pairs ...string) []*dto.LabelPair {
	made := make([]dto.LabelPair, len(pairs)/2)
	out := make([]*dto.LabelPair, len(made))
	for i := range made {
		made[i].Name, made[i].Value = &pairs[2*i], &pairs[2*i+1]
		out[i] = &made[i]
	}
	return out
}

// gatherer adds the series of this file to those of the registry.
type gatherer struct {
	b        *Broker
	registry prometheus.Gatherer
}

// Gather implements prometheus.Gatherer.
func (g gatherer) Gather() ([]*dto.MetricFamily, error) {
	out, err := g.registry.Gather()
	var many families
	g.b.topicSeries(&many)
	g.b.groupSeries.collect(&many)
	for _, f := range many {
		if len(f.mf.Metric) > 0 {
			out = append(out, f.mf)
		}
	}
	slices.SortFunc(out, func(a, b *dto.MetricFamily) int { return cmp.Compare(a.GetName(), b.GetName()) })
	if err != nil {
		err = fmt.Errorf("gather: %w", err)
	}
	return out, err
}
