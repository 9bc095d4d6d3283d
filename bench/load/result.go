package load

import (
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/stelemq/stele/bench/machine"
)

// Result is what one run of a Scenario measured.
type Result struct {
	Scenario Scenario  `json:"scenario"`
	At       time.Time `json:"at"`
	// Seconds is how long was measured; Records, Bytes (of values) and Errors are of that time.
	Seconds float64 `json:"seconds"`
	Records int64   `json:"records"`
	Bytes   int64   `json:"bytes"`
	Errors  int64   `json:"errors"`
	// TotalBytes are those of the whole run, warm-up included.
	TotalBytes int64  `json:"total_bytes"`
	Error      string `json:"error,omitempty"` // the last one
	// RecordsPerSecond and MBPerSecond (of 10^6 bytes) follow from them.
	RecordsPerSecond float64 `json:"records_per_second"`
	MBPerSecond      float64 `json:"mb_per_second"`
	// TopicSeconds is how long it took to make the topic, until every partition had a leader.
	TopicSeconds float64 `json:"topic_seconds"`
	// Latency is nil where nothing was timed.
	Latency *Latency `json:"latency,omitempty"`
	// Brokers is nil where their processes are not known.
	Brokers *Brokers `json:"brokers,omitempty"`
	// WrittenPerByte is what went to the disk, by everybody, per byte of values in the whole run; 0 where it is not known.
	WrittenPerByte float64 `json:"written_per_byte,omitempty"`
	// Before and After are probes of the disk, nil where its directory is not known.
	Before *machine.Probe `json:"probe_before,omitempty"`
	After  *machine.Probe `json:"probe_after,omitempty"`
}

// Latency is in milliseconds.
type Latency struct {
	Count int64   `json:"count"`
	P50   float64 `json:"p50"`
	P90   float64 `json:"p90"`
	P99   float64 `json:"p99"`
	P999  float64 `json:"p999"`
	Max   float64 `json:"max"`
}

// Brokers is what the processes of all brokers used.
type Brokers struct {
	CPUSeconds float64 `json:"cpu_seconds"`
	// CPUPerGB and CPUPerMillion are seconds of processor time per 10^9 bytes of values and per 10^6 records.
	CPUPerGB      float64 `json:"cpu_seconds_per_gb"`
	CPUPerMillion float64 `json:"cpu_seconds_per_million"`
	RSS           int64   `json:"rss"` // bytes, at the end
}

func newLatency(h *hdrhistogram.Histogram) *Latency {
	if h.TotalCount() == 0 {
		return nil
	}
	ms := func(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
	return &Latency{
		Count: h.TotalCount(),
		P50:   ms(quantile(h, 50)), P90: ms(quantile(h, 90)), P99: ms(quantile(h, 99)), P999: ms(quantile(h, 99.9)),
		Max: ms(time.Duration(h.Max()) * time.Microsecond),
	}
}

func newBrokers(u machine.Usage, records, bytes int64) *Brokers {
	b := &Brokers{CPUSeconds: u.CPU.Seconds(), RSS: u.RSS}
	if bytes > 0 {
		b.CPUPerGB = u.CPU.Seconds() / (float64(bytes) / 1e9)
	}
	if records > 0 {
		b.CPUPerMillion = u.CPU.Seconds() / (float64(records) / 1e6)
	}
	return b
}
