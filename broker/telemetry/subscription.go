package telemetry

import (
	"encoding/binary"
	"hash/crc32"
	"regexp"
	"slices"
	"strings"
	"time"
)

// DefaultInterval is how often clients ask again for whom there is no subscription.
const DefaultInterval = 5 * time.Minute

// Subscription asks clients for metrics.
type Subscription struct {
	// Metrics are prefixes of names; * is every name.
	Metrics  []string
	Interval time.Duration
	// Match are patterns by selector (client_id and so on); all must match.
	Match map[string]string
}

// Request is what one client is asked for.
type Request struct {
	Metrics  []string
	Interval time.Duration
	// ID differs for each client and changes with what it is asked for.
	ID int32
}

// For is what a client with some attributes is asked for by all subscriptions that match it.
func For(instance Client, attributes map[string]string, all []Subscription) Request {
	r := Request{Interval: DefaultInterval}
	matched := false
	for _, s := range all {
		if !s.matches(attributes) {
			continue
		}
		r.Metrics = append(r.Metrics, s.Metrics...)
		if !matched || s.Interval < r.Interval {
			r.Interval = s.Interval
		}
		matched = true
	}
	slices.Sort(r.Metrics)
	r.Metrics = slices.Compact(r.Metrics)
	if slices.Contains(r.Metrics, "*") {
		r.Metrics = []string{""} // KIP-714: the empty prefix is every name
	}
	sum := crc32.NewIEEE()
	_, _ = sum.Write([]byte(strings.Join(r.Metrics, ",")))                                  // never fails
	_, _ = sum.Write(binary.BigEndian.AppendUint64(nil, uint64(r.Interval.Milliseconds()))) //nolint:gosec // positive
	_, _ = sum.Write(instance[:])
	r.ID = int32(sum.Sum32()) //nolint:gosec // any bits
	return r
}

func (s *Subscription) matches(attributes map[string]string) bool {
	for selector, pattern := range s.Match {
		re, err := regexp.Compile("^(?:" + pattern + ")$")
		if err != nil || !re.MatchString(attributes[selector]) {
			return false
		}
	}
	return true
}
