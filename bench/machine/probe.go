package machine

import (
	"fmt"
	"os"
	"slices"
	"time"
)

// Probe is how long a write of 4 KiB with its sync took: a disk that is shared with others changes from minute to minute.
type Probe struct {
	P50 time.Duration `json:"p50"`
	P99 time.Duration `json:"p99"`
}

// Sync probes the disk below dir by n writes, one after the other.
func Sync(dir string, n int) (Probe, error) {
	f, err := os.CreateTemp(dir, "probe-")
	if err != nil {
		return Probe{}, fmt.Errorf("probe the disk: %w", err)
	}
	defer os.Remove(f.Name()) //nolint:errcheck // best effort
	defer f.Close()           //nolint:errcheck // nothing of it is kept
	page := make([]byte, 4<<10)
	took := make([]time.Duration, 0, n)
	for i := range n {
		if _, err := f.WriteAt(page, int64(i)*int64(len(page))); err != nil {
			return Probe{}, fmt.Errorf("probe the disk: %w", err)
		}
		began := time.Now()
		if err := dataSync(f); err != nil {
			return Probe{}, fmt.Errorf("probe the disk: %w", err)
		}
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	return Probe{P50: took[n/2], P99: took[n*99/100]}, nil
}

// Moved tells how much the disk changed between two probes: the larger p50 over the smaller one, at least 1.
func Moved(a, b Probe) float64 {
	lo, hi := min(a.P50, b.P50), max(a.P50, b.P50)
	if lo <= 0 {
		return 1
	}
	return float64(hi) / float64(lo)
}
