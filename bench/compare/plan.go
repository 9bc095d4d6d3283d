package compare

import (
	"errors"
	"fmt"
	"io"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/stelemq/stele/bench/load"
)

// Kinds of steps beyond those of package load.
const (
	// Start measures a broker's exec to the first acknowledged record on an empty directory, and its memory at rest after.
	Start = "start"
	// Restart measures kill -9 to the first acknowledged record, with FillBytes of data.
	Restart = "restart"
	// Failover measures the longest gap of partitions after kill -9 of a leader.
	Failover = "failover"
)

// Plan is what to measure. It is the file of `bench matrix` and `bench compare`.
type Plan struct {
	// Title of the report.
	Title string `yaml:"title"`
	// Rounds of each scenario on each system. Default: 5.
	Rounds int `yaml:"rounds"`
	// WarmUp is how long each system is warmed up by a load of its own when it was started. Default: 10 s.
	WarmUp time.Duration `yaml:"warm_up"`
	// Settings are further settings of the brokers by the name of the system.
	Settings map[string][]string `yaml:"settings"`
	// Scenarios, in the order in which they are measured.
	Scenarios []load.Scenario `yaml:"scenarios"`
}

// ErrPlan: the file of scenarios cannot be used.
var ErrPlan = errors.New("bad plan")

// ReadPlan reads a plan and checks all of it. Errors: ErrPlan.
func ReadPlan(r io.Reader) (*Plan, error) {
	d := yaml.NewDecoder(r)
	d.KnownFields(true)
	p := new(Plan)
	if err := d.Decode(p); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrPlan, err)
	}
	if p.Rounds == 0 {
		p.Rounds = 5
	}
	if p.Rounds < 0 || len(p.Scenarios) == 0 {
		return nil, fmt.Errorf("%w: want rounds above 0 and at least one scenario", ErrPlan)
	}
	if p.WarmUp == 0 {
		p.WarmUp = 10 * time.Second
	}
	names := make(map[string]bool)
	for i := range p.Scenarios {
		s, err := withDefaults(p.Scenarios[i])
		if err != nil {
			return nil, fmt.Errorf("%w: scenario %d: %w", ErrPlan, i+1, err)
		}
		if names[s.Name] {
			return nil, fmt.Errorf("%w: two scenarios are named %q", ErrPlan, s.Name)
		}
		names[s.Name] = true
		p.Scenarios[i] = s
	}
	return p, nil
}

// withDefaults is load's, for the kinds of this package too.
func withDefaults(s load.Scenario) (load.Scenario, error) {
	kind := s.Kind
	switch kind {
	case Start, Restart, Failover:
		s.Kind = load.Produce
		if s.Name == "" {
			s.Name = kind
		}
		if kind == Failover && s.Replicas == 0 {
			s.Replicas = 3
		}
		if kind == Failover && s.Rate == 0 {
			s.Rate = 100
		}
	}
	s, err := s.WithDefaults()
	if kind != "" {
		s.Kind = kind
	}
	return s, err //nolint:wrapcheck // says which scenario
}
