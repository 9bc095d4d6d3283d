package telemetry

import (
	"slices"
	"strings"
	"sync"
	"time"
)

// Bounds of a store.
const (
	// ClientsMax clients are kept at a time, MetricsMax metrics of each.
	ClientsMax = 200
	MetricsMax = 100
)

// Client is an instance of a client.
type Client [16]byte

// Sample is a value that a client has sent.
type Sample struct {
	Instance Client
	ClientID string
	Metric   string
	Value    float64
}

type client struct {
	id     string
	at     time.Time
	keep   time.Duration
	values map[string]float64
}

// Store keeps the newest values of clients. Safe for concurrent use.
type Store struct {
	mu      sync.Mutex
	clients map[Client]*client // mu guards
}

// NewStore makes an empty store.
func NewStore() *Store { return &Store{clients: map[Client]*client{}} }

// Put replaces what a client has sent; it is dropped when nothing has come for the time given. It reports whether there was
// room for it.
func (s *Store) Put(instance Client, id string, values map[string]float64, now time.Time, keep time.Duration) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expire(now)
	if _, known := s.clients[instance]; !known && len(s.clients) >= ClientsMax {
		return false
	}
	s.clients[instance] = &client{id: id, at: now, keep: keep, values: values}
	return true
}

// Drop forgets a client.
func (s *Store) Drop(instance Client) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.clients, instance)
}

// Samples returns everything that is kept.
func (s *Store) Samples(now time.Time) []Sample {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expire(now)
	var out []Sample
	for instance, c := range s.clients {
		for metric, value := range c.values {
			out = append(out, Sample{instance, c.id, metric, value})
		}
	}
	slices.SortFunc(out, func(a, b Sample) int { return strings.Compare(a.Metric, b.Metric) })
	return out
}

func (s *Store) expire(now time.Time) {
	for instance, c := range s.clients {
		if now.Sub(c.at) > c.keep {
			delete(s.clients, instance)
		}
	}
}
