package compare

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/stelemq/stele/bench/load"
	"github.com/stelemq/stele/bench/machine"
	"github.com/stelemq/stele/bench/report"
	"github.com/stelemq/stele/bench/scenarios"
)

func TestReadPlan_OwnFiles(t *testing.T) {
	for _, name := range scenarios.Names() {
		f, err := scenarios.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		p, err := ReadPlan(f)
		_ = f.Close()
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if p.Title == "" || p.Rounds < 1 {
			t.Errorf("%s: %+v", name, p)
		}
	}
}

func TestReadPlan_Refuses(t *testing.T) {
	for name, text := range map[string]string{
		"no scenario":     "title: x",
		"unknown key":     "scenarios: [{kind: produce, colour: red}]",
		"unknown kind":    "scenarios: [{kind: dance}]",
		"two of one name": "scenarios: [{kind: produce}, {kind: produce}]",
		"not YAML":        ":::",
		"bad value":       "scenarios: [{kind: produce, bytes: 1}]",
	} {
		if _, err := ReadPlan(strings.NewReader(text)); !errors.Is(err, ErrPlan) {
			t.Errorf("%s: %v, want ErrPlan", name, err)
		}
	}
}

// fakeSystem has clusters that cannot be reached.
type fakeSystem struct {
	name  string
	calls *[]string
}

func (f *fakeSystem) Name() string { return f.name }

func (f *fakeSystem) Start(context.Context, int) (Cluster, error) {
	*f.calls = append(*f.calls, f.name)
	return nil, errors.New("no such program")
}

func TestComparison_AlternatesTheOrderAndNotesFailures(t *testing.T) {
	var calls []string
	plan, err := ReadPlan(strings.NewReader("rounds: 3\nscenarios: [{kind: start}]"))
	if err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	saved := 0
	c := Comparison{
		Plan: plan, Systems: []System{&fakeSystem{"a", &calls}, &fakeSystem{"b", &calls}}, Dir: t.TempDir(), Say: &said,
		Save: func(*report.File) error { saved++; return nil },
	}
	file := report.NewFile("t", "c", machine.Facts{}, "a", "b")
	if err := c.Run(t.Context(), file); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(calls, " "); got != "a b b a a b" {
		t.Errorf("order %q", got)
	}
	if n := len(file.Cell("start", "a").Failed); n != 3 {
		t.Errorf("%d failures noted, want 3", n)
	}
	if saved != 1 {
		t.Errorf("saved %d times, want once, after the scenario", saved)
	}
}

func TestComparison_LoadsNeedTheirClusters(t *testing.T) {
	var calls []string
	c := Comparison{
		Plan:    &Plan{Rounds: 1, Scenarios: []load.Scenario{{Kind: load.Produce, Replicas: 1}}},
		Systems: []System{&fakeSystem{"a", &calls}}, Dir: t.TempDir(), Say: new(strings.Builder),
	}
	if err := c.Run(t.Context(), report.NewFile("t", "c", machine.Facts{}, "a")); err == nil {
		t.Error("a cluster that does not start is no error")
	}
}
