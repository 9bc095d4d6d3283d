package quota

import "time"

// Kafka's quota.window.num and quota.window.size.seconds.
const (
	windows    = 11
	windowSize = time.Second
)

// rate is what was used in each of the last seconds.
type rate struct {
	used  [windows]float64
	slot  int64 // of the newest window: seconds since some beginning
	first int64 // of the oldest that counts
}

func slotOf(now time.Time) int64 { return now.UnixNano() / int64(windowSize) }

// advance forgets windows that are too old.
func (r *rate) advance(now time.Time) {
	slot := slotOf(now)
	if r.slot == 0 || slot-r.slot >= windows {
		*r = rate{slot: slot, first: slot}
	}
	for r.slot < slot {
		r.slot++
		r.used[r.slot%windows] = 0
	}
	r.first = max(r.first, slot-windows+1)
}

// add counts what was used just now.
func (r *rate) add(now time.Time, n float64) {
	r.advance(now)
	r.used[r.slot%windows] += n
}

// span is the time that the windows cover: at least all windows but one, so that a client that begins is not judged by its
// first instant (as Kafka's Rate).
func (r *rate) span(now time.Time) time.Duration {
	begin := time.Unix(0, r.first*int64(windowSize))
	return max(now.Sub(begin), (windows-1)*windowSize)
}

// perSecond is the average over the windows.
func (r *rate) perSecond(now time.Time) float64 {
	sum := 0.0
	for _, n := range r.used {
		sum += n
	}
	return sum / r.span(now).Seconds()
}

// wait is how long nothing may be used until the average is at most limit again.
func (r *rate) wait(now time.Time, limit float64) time.Duration {
	average := r.perSecond(now)
	if average <= limit {
		return 0
	}
	if limit <= 0 {
		return windows * windowSize
	}
	return time.Duration((average - limit) / limit * float64(r.span(now)))
}
