package load

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/stelemq/stele/protocol/record"
)

// Kinds of load.
const (
	// Produce writes records through package client.
	Produce = "produce"
	// Consume reads what was written before, again and again, through package client.
	Consume = "consume"
	// E2E writes at a rate and reads at the end of the log; the latency is from due to read.
	E2E = "e2e"
	// RawProduce sends batches that were encoded beforehand in Produce requests of their own.
	RawProduce = "raw-produce"
	// RawFetch reads what was written before by Fetch requests, and looks at the headers of batches only.
	RawFetch = "raw-fetch"
	// Cold writes at a rate while another connection reads old records that are not in the page cache.
	Cold = "cold"
)

// Kinds are all kinds, in the order of the documentation.
func Kinds() []string { return []string{Produce, Consume, E2E, RawProduce, RawFetch, Cold} }

// Scenario is a load to be put on a cluster once. The zero value of a field is its default.
type Scenario struct {
	Name string `json:"name" yaml:"name"`
	Kind string `json:"kind" yaml:"kind"`
	// Bytes is the size of a record's value. Default: 1024.
	Bytes int `json:"bytes" yaml:"bytes"`
	// Partitions and Replicas are those of the topic, which is made for the run. Defaults: 6 and 1.
	Partitions int `json:"partitions" yaml:"partitions"`
	Replicas   int `json:"replicas" yaml:"replicas"`
	// Durable asks for a sync before each acknowledgement (flush.messages=1); otherwise the page cache is trusted.
	Durable bool `json:"durable" yaml:"durable"`
	// Acks is what is waited for: -1 (all in sync), 1 (the leader), 0. The default of nil is -1.
	Acks *int `json:"acks,omitempty" yaml:"acks"`
	// Rate is in records a second over all clients; 0 is as fast as possible.
	Rate int `json:"rate,omitempty" yaml:"rate"`
	// Clients is the number of producers (or consumers), each with connections of its own. Default: 1.
	Clients int `json:"clients" yaml:"clients"`
	// Linger is how long a batch waits for more records. Default: 5 ms; with a rate none.
	Linger time.Duration `json:"linger,omitempty" yaml:"linger"`
	// BatchBytes is the size of a batch that is sent without waiting. Default: 1 MiB; 64 KiB of raw loads.
	BatchBytes int `json:"batch_bytes,omitempty" yaml:"batch_bytes"`
	// OneBatchEach puts every record into a batch of its own.
	OneBatchEach bool `json:"one_batch_each,omitempty" yaml:"one_batch_each"`
	// InFlight is how many raw requests a connection has unanswered. Default: 8; with a rate 512.
	InFlight int `json:"in_flight,omitempty" yaml:"in_flight"`
	// Compression is none, gzip, snappy, lz4 or zstd.
	Compression string `json:"compression,omitempty" yaml:"compression"`
	// Random is the part of a value's bytes that cannot be compressed, 0 to 100 percent. Default: 100.
	Random *int `json:"random,omitempty" yaml:"random"`
	// FillBytes is what is written before reading begins. Default: 512 MiB.
	FillBytes int64 `json:"fill_bytes,omitempty" yaml:"fill_bytes"`
	// WarmUp comes before what is measured, Duration is what is measured. Defaults: 1 s and 5 s.
	WarmUp   time.Duration `json:"warm_up" yaml:"warm_up"`
	Duration time.Duration `json:"duration" yaml:"duration"`
}

// ErrScenario: a scenario asks for what cannot be.
var ErrScenario = errors.New("bad scenario")

// WithDefaults fills in what was left out, and checks the whole. Errors: ErrScenario.
func (s Scenario) WithDefaults() (Scenario, error) {
	setDefault(&s.Kind, Produce)
	setDefault(&s.Bytes, 1<<10)
	setDefault(&s.Partitions, 6)
	setDefault(&s.Replicas, 1)
	setDefault(&s.Clients, 1)
	setDefault(&s.FillBytes, 512<<20)
	setDefault(&s.WarmUp, time.Second)
	setDefault(&s.Duration, 5*time.Second)
	setDefault(&s.Compression, record.None.String())
	if s.Acks == nil {
		all := -1
		s.Acks = &all
	}
	if s.Random == nil {
		all := 100
		s.Random = &all
	}
	raw := s.Kind == RawProduce || s.Kind == RawFetch
	switch {
	case s.BatchBytes > 0:
	case raw:
		s.BatchBytes = 64 << 10
	default:
		s.BatchBytes = 1 << 20
	}
	if s.Kind == E2E || s.Kind == Cold {
		setDefault(&s.Rate, 1000)
	}
	switch {
	case s.InFlight > 0:
	case s.Rate > 0:
		s.InFlight = 512
	default:
		s.InFlight = 8
	}
	switch {
	case s.Linger != 0:
	case s.Rate > 0 || s.OneBatchEach:
		s.Linger = -1
	default:
		s.Linger = 5 * time.Millisecond
	}
	if s.Name == "" {
		s.Name = s.describe()
	}
	return s, s.check()
}

func setDefault[T comparable](p *T, v T) {
	var zero T
	if *p == zero {
		*p = v
	}
}

func (s *Scenario) check() error {
	bad := func(format string, a ...any) error {
		return fmt.Errorf("%w %q: %s", ErrScenario, s.Name, fmt.Sprintf(format, a...))
	}
	if !slices.Contains(Kinds(), s.Kind) {
		return bad("kind %q: want %s", s.Kind, strings.Join(Kinds(), ", "))
	}
	if _, err := record.ParseCodec(s.Compression); err != nil {
		return bad("compression %q: want none, gzip, snappy, lz4 or zstd", s.Compression)
	}
	for _, r := range []struct {
		name      string
		n, lo, hi int64
	}{
		{"bytes", int64(s.Bytes), stampLen, 64 << 20},
		{"partitions", int64(s.Partitions), 1, 100_000},
		{"replicas", int64(s.Replicas), 1, 99},
		{"clients", int64(s.Clients), 1, 10_000},
		{"acks", int64(*s.Acks), -1, 1},
		{"rate", int64(s.Rate), 0, 100_000_000},
		{"random", int64(*s.Random), 0, 100},
		{"in flight", int64(s.InFlight), 1, 100_000},
		{"fill bytes", s.FillBytes, 1, 1 << 50},
		{"warm-up (ns)", int64(s.WarmUp), 0, int64(24 * time.Hour)},
		{"duration (ns)", int64(s.Duration), 1, int64(24 * time.Hour)},
	} {
		if r.n < r.lo || r.n > r.hi {
			return bad("%s is %d: want %d to %d", r.name, r.n, r.lo, r.hi)
		}
	}
	return nil
}

// Writes is true for loads whose records are new.
func (s *Scenario) Writes() bool { return s.Kind == Produce || s.Kind == RawProduce || s.Kind == E2E }

// describe names a scenario by what it does.
func (s *Scenario) describe() string {
	parts := []string{s.Kind, sizeName(s.Bytes)}
	if s.Rate > 0 {
		parts = append(parts, fmt.Sprintf("%d/s", s.Rate))
	}
	parts = append(parts, fmt.Sprintf("RF %d", s.Replicas))
	if s.Durable {
		parts = append(parts, "durable")
	} else {
		parts = append(parts, "relaxed")
	}
	if s.Partitions != 6 {
		parts = append(parts, fmt.Sprintf("%d partitions", s.Partitions))
	}
	return strings.Join(parts, " ")
}

func sizeName(n int) string {
	switch {
	case n >= 1<<20 && n%(1<<20) == 0:
		return fmt.Sprintf("%d MiB", n>>20)
	case n >= 1<<10 && n%(1<<10) == 0:
		return fmt.Sprintf("%d KiB", n>>10)
	default:
		return fmt.Sprintf("%d B", n)
	}
}
