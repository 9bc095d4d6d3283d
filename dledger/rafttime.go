package dledger

import (
	"context"
	"sync/atomic"
	"time"
)

// Raft's timing. A tick is 13 ms of the host's Raft clock: election timeouts of 12 to 23 of them, 156 to 299 ms, in steps
// fine enough that two replicas seldom stand for election at once, and a heartbeat every 52 ms. A leader gets the ticks of a
// heartbeat in one step, a follower none while it hears its leader (ticker.go), so that fine ticks cost nothing.
const (
	tickMillis     = 13
	tickTime       = tickMillis * time.Millisecond
	electionTicks  = 12
	heartbeatTicks = 4
	heartbeatEvery = heartbeatTicks * tickTime
)

// dragonboat's own ticker ticks all groups at once, so it is made to tick never, and the host ticks by itself (ticker.go).
// The library measures the timeouts of requests in ticks, too, at so many milliseconds as it was told: a timeout for it is
// libraryTime(d). What makes them run out is the count that travels with the host's ticks.
const (
	libraryTick = 1000 * time.Hour
	// requestTick is the unit of that count, which begins with the replica.
	requestTick = 250 * time.Millisecond
	// requestSlack is how old the count may be that a group has: what it does not hurry for comes so seldom.
	requestSlack = housekeepingEvery + time.Second
)

// requestTicks is the count that travels with a tick now, for a replica that was started at a time by monotonic().
func requestTicks(started int64) uint64 {
	return uint64(max(monotonic()-started, 0)/int64(requestTick)) + 1
}

// libraryTime is what dragonboat must be told for a timeout of about d, a little more rather than less.
func libraryTime(d time.Duration) time.Duration {
	const most = 10 * time.Minute // what is longer would not fit
	n := int64((min(max(d, 0), most) + requestSlack) / requestTick)
	return time.Duration(n * int64(libraryTick))
}

// libraryContext ends when ctx does, and tells dragonboat its deadline in the library's time. ctx must have one.
func libraryContext(ctx context.Context) context.Context {
	deadline, ok := ctx.Deadline()
	if !ok {
		return ctx
	}
	return inLibraryTime{ctx, time.Now().Add(libraryTime(time.Until(deadline)))}
}

type inLibraryTime struct {
	context.Context //nolint:containedctx // it is one
	deadline        time.Time
}

func (c inLibraryTime) Deadline() (time.Time, bool) { return c.deadline, true }

// raftClock is the time by which followers lose patience: nanoseconds of monotonic(), less those in which this process did
// not run. It never advances faster than time, so what is due by it is not early; and a process that was stopped finds what
// came meanwhile before it takes its leaders for dead.
type raftClock struct{ at atomic.Pointer[moment] }

// moment says that the clock was at clock when monotonic() was at.
type moment struct{ at, clock int64 }

// clockStep bounds by how much the clock advances between two beats of the ticker.
const clockStep = int64(heartbeatEvery)

// now is the time of this moment. Between two beats it stops after clockStep.
func (c *raftClock) now() int64 {
	m := c.at.Load()
	if m == nil { // nothing has ticked yet
		return 1
	}
	return m.clock + min(max(monotonic()-m.at, 0), clockStep)
}

// beat goes on from where now stands. Only the ticker calls it.
func (c *raftClock) beat() int64 {
	m := c.at.Load()
	at := monotonic()
	if m == nil {
		m = &moment{at: at, clock: 1}
	}
	next := &moment{at: at, clock: m.clock + min(max(at-m.at, 0), clockStep)}
	c.at.Store(next)
	return next.clock
}
