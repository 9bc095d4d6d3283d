package group

import (
	"container/heap"
	"time"
)

// timerKind is what a timer is for.
type timerKind uint8

const (
	timerSession    timerKind = iota // a member's session
	timerJoin                        // the end of a group's join phase
	timerSync                        // members that have not fetched their assignments
	timerRetention                   // expired offsets
	timerRebalance                   // a KIP-848 member that has not revoked what it must
	timerAssignment                  // a KIP-848 group's next assignment
)

// timerKey names a timer: there is one at a time of each.
type timerKey struct {
	kind   timerKind
	group  string
	member string
}

type timer struct {
	key  timerKey
	at   time.Time
	fire func(now time.Time)
	pos  int // in the heap
}

// timers are what becomes due. The zero value is ready.
type timers struct {
	byKey map[timerKey]*timer
	due   timerHeap
}

// set starts a timer, or moves it.
func (t *timers) set(key timerKey, at time.Time, fire func(now time.Time)) {
	if old := t.byKey[key]; old != nil {
		old.at, old.fire = at, fire
		heap.Fix(&t.due, old.pos)
		return
	}
	if t.byKey == nil {
		t.byKey = map[timerKey]*timer{}
	}
	x := &timer{key: key, at: at, fire: fire}
	t.byKey[key] = x
	heap.Push(&t.due, x)
}

func (t *timers) has(key timerKey) bool { return t.byKey[key] != nil }

func (t *timers) cancel(key timerKey) {
	if x := t.byKey[key]; x != nil {
		delete(t.byKey, key)
		heap.Remove(&t.due, x.pos)
	}
}

func (t *timers) clear() { *t = timers{} }

// next is when the first timer is due.
func (t *timers) next() (time.Time, bool) {
	if len(t.due) == 0 {
		return time.Time{}, false
	}
	return t.due[0].at, true
}

// fire runs what is due; timers that are set meanwhile and are due at once run, too.
func (t *timers) fire(now time.Time) {
	for len(t.due) > 0 && !t.due[0].at.After(now) {
		x := t.due[0]
		t.cancel(x.key)
		x.fire(now)
	}
}

type timerHeap []*timer

func (h timerHeap) Len() int           { return len(h) }
func (h timerHeap) Less(i, j int) bool { return h[i].at.Before(h[j].at) }
func (h timerHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].pos, h[j].pos = i, j
}

// Push implements heap.Interface.
func (h *timerHeap) Push(x any) {
	t := x.(*timer) //nolint:forcetypeassert // only set pushes
	t.pos = len(*h)
	*h = append(*h, t)
}

// Pop implements heap.Interface.
func (h *timerHeap) Pop() any {
	old := *h
	t := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return t
}
