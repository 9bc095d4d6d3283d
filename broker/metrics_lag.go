package broker

import (
	"context"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/stelemq/stele/broker/group"
	"github.com/stelemq/stele/dledger"
	"github.com/stelemq/stele/protocol/record"
)

const (
	// groupScrapeTimeout bounds how long a scrape waits for the coordinators.
	groupScrapeTimeout = 2 * time.Second
	// lagReadsMax bounds the batches that one scrape reads to tell a lag in time; the others follow with the next ones.
	lagReadsMax = 200
	// lagReadBytes is how much is read of a log for it, if the batch is not larger.
	lagReadBytes = 16 << 10
)

// groupCollector shows the groups whose coordinators are here, and how far they are behind. The ends of logs are those that
// this node's replicas know; partitions without a replica here have no lag.
type groupCollector struct {
	b *Broker

	groups, members, committed, lag, lagSeconds *prometheus.Desc

	mu sync.Mutex
	// next is when the first records after some offsets were written, by partition; what is not asked for again is dropped.
	next map[lagKey]int64 // mu guards
}

// lagKey is an offset in a partition.
type lagKey struct {
	topic     string
	partition int32
	offset    int64
}

func newGroupCollector(b *Broker) *groupCollector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(metricsPrefix+"_"+name, help, labels, nil)
	}
	return &groupCollector{
		b:          b,
		groups:     desc("groups", "Groups whose coordinator is this broker, by state.", "state"),
		members:    desc("group_members", "Members of a group.", "group"),
		committed:  desc("group_committed_offset", "The offset that a group has committed.", "group", "topic", "partition"),
		lag:        desc("group_lag_records", "Records between what a group has committed and the high watermark.", "group", "topic", "partition"),
		lagSeconds: desc("group_lag_seconds", "Age of the oldest record that a group has not committed, 0 where it has all.", "group", "topic"),
		next:       map[lagKey]int64{},
	}
}

// Describe implements prometheus.Collector.
func (c *groupCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.groups, c.members, c.committed, c.lag, c.lagSeconds} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c *groupCollector) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	states := map[string]int{}
	s := lagScrape{c: c, gauge: gauge, now: c.b.now(), next: map[lagKey]int64{}}
	s.detail = c.b.opts.Metadata.Image().PartitionCount() <= c.b.opts.Config.PartitionMetricsMax
	for _, g := range c.b.groupSummaries() {
		states[g.State]++
		gauge(c.members, float64(g.Members), g.ID)
		s.group(&g)
	}
	for state, n := range states {
		gauge(c.groups, float64(n), state)
	}
	c.next = s.next
}

// groupSummaries are the groups whose coordinators are here.
func (b *Broker) groupSummaries() []group.Summary {
	ctx, cancel := context.WithTimeout(b.running, groupScrapeTimeout)
	defer cancel()
	var out []group.Summary
	for _, k := range b.coordinators.here() {
		var some []group.Summary
		if k.log.Leadership().IsLeader && k.read(ctx, func(c *group.Coordinator) { some = c.Summaries() }) {
			out = append(out, some...)
		}
	}
	return out
}

// lagScrape is one scrape.
type lagScrape struct {
	c      *groupCollector
	gauge  func(*prometheus.Desc, float64, ...string)
	now    time.Time
	next   map[lagKey]int64
	reads  int
	detail bool
}

func (s *lagScrape) group(g *group.Summary) {
	seconds := map[string]float64{}
	for _, o := range g.Offsets {
		lag, age, known := s.lag(&o)
		partition := strconv.Itoa(int(o.Partition))
		if s.detail {
			s.gauge(s.c.committed, float64(o.Offset), g.ID, o.Topic, partition)
			if known {
				s.gauge(s.c.lag, float64(lag), g.ID, o.Topic, partition)
			}
		}
		if known {
			seconds[o.Topic] = max(seconds[o.Topic], age.Seconds())
		}
	}
	for topic, v := range seconds {
		s.gauge(s.c.lagSeconds, v, g.ID, topic)
	}
}

// lag is how far a commit is behind. The high watermark is read after the commit: it is never below what was committed, unless
// this replica follows and has not heard yet.
func (s *lagScrape) lag(o *group.CommittedOffset) (records int64, age time.Duration, known bool) {
	t, ok := s.c.b.opts.Metadata.Image().Topic(o.Topic)
	if !ok {
		return 0, 0, false
	}
	log := openLog(s.c.b.partitions.find(t.ID, o.Partition))
	if log == nil {
		return 0, 0, false
	}
	offsets := log.Offsets()
	from := max(o.Offset, int64(offsets.LogStart)) // what has been deleted cannot be read any more
	if records = int64(offsets.HighWatermark) - from; records <= 0 {
		return 0, 0, true
	}
	at, ok := s.written(log, lagKey{o.Topic, o.Partition, from})
	if !ok {
		return records, 0, true
	}
	return records, max(0, s.now.Sub(time.UnixMilli(at))), true
}

// written is when the first record at or after an offset was written.
func (s *lagScrape) written(log PartitionLog, key lagKey) (int64, bool) {
	if at, ok := s.c.next[key]; ok {
		s.next[key] = at
		return at, true
	}
	if s.reads++; s.reads > lagReadsMax {
		return 0, false
	}
	got, _, err := log.Read(nil, dledger.ReadRequest{
		From: record.Offset(key.offset), Limit: dledger.ReadToHighWatermark, MaxBytes: lagReadBytes, AtLeastOne: true,
	})
	if err != nil || len(got) == 0 {
		return 0, false
	}
	batch, _, err := record.Next(got)
	if err != nil {
		return 0, false
	}
	at := batch.BaseTimestamp()
	if batch.Attributes().LogAppendTime() {
		at = batch.MaxTimestamp()
	}
	s.next[key] = at
	return at, true
}
