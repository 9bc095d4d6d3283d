//go:build robustness

package robustness

import (
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/stelemq/stele/tests/robustness/history"
)

// figures are what a scenario measures.
type figures struct {
	name      string
	faults    int
	available []time.Duration // per fault and partition that it hit: to the first acknowledged write
	heal      []time.Duration // per fault: from its end to all replicas in sync
	gap       time.Duration   // the longest time without an acknowledgement in one partition
	notes     []string

	sends, acked, failed, unknown, lost, duplicates int
	weak                                            *history.Report
}

func (f *figures) add(r *history.Report) {
	f.sends, f.acked, f.failed, f.unknown = r.Sends, r.Acked, r.Failed, r.Unknown
	f.lost, f.duplicates = r.Lost(), r.Count[history.Duplicate]
}

func (f *figures) note(format string, args ...any) {
	f.notes = append(f.notes, fmt.Sprintf(format, args...))
}

// figuresEnv names a file to which each scenario adds its row of the table in docs/reliability.md.
const figuresEnv = "STELE_ROBUSTNESS_FIGURES"

// report logs the figures.
func (f *figures) report(t *testing.T) {
	t.Helper()
	if f.weak != nil {
		f.note("acks=1: %d acknowledged, %d lost", f.weak.Acked, f.weak.WeakLost)
	}
	verdict := "clean"
	if t.Failed() {
		verdict = "FAILED"
	}
	row := fmt.Sprintf("| %s | %d | %d / %d / %d | %d | %d | %s | %s | %s | %s | %s |", f.name, f.faults, f.acked, f.failed, f.unknown, f.lost, f.duplicates,
		quantiles(f.available), round(f.gap), quantiles(f.heal), verdict, join(f.notes))
	t.Log("fault | n | acknowledged / failed / unknown | lost | duplicates | first ack p50 / p99 / max | longest gap | in sync p50 / p99 / max | verdict | notes\n" + row)
	path := os.Getenv(figuresEnv)
	if path == "" {
		return
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Error(err)
		return
	}
	if _, err := fmt.Fprintln(file, row); err != nil {
		t.Error(err)
	}
	if err := file.Close(); err != nil {
		t.Error(err)
	}
}

func join(notes []string) (all string) {
	for i, n := range notes {
		if i > 0 {
			all += "; "
		}
		all += n
	}
	return all
}

// quantiles are p50, p99 and the maximum.
func quantiles(d []time.Duration) string {
	if len(d) == 0 {
		return "–"
	}
	return fmt.Sprintf("%v / %v / %v", round(quantile(d, 50)), round(quantile(d, 99)), round(slices.Max(d)))
}

func quantile(d []time.Duration, percent int) time.Duration {
	if len(d) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(d))
	return sorted[len(sorted)*percent/100]
}

func round(d time.Duration) time.Duration {
	if d > time.Second {
		return d.Round(10 * time.Millisecond)
	}
	return d.Round(100 * time.Microsecond)
}
