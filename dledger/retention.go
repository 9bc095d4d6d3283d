package dledger

import (
	"context"
	"time"

	"github.com/stelemq/stele/commitlog"
	"github.com/stelemq/stele/protocol/record"
)

// Retention: the leader looks at its own segments and proposes where the log is to begin; the command moves the log start of
// all replicas alike. What the files do is trim.go.

// retainTimeout bounds how long one partition's command is waited for.
const retainTimeout = 10 * time.Second

// Why segments are deleted: values of the metric's label.
const (
	reasonRecords = "delete_records"
	reasonUnknown = "log_start"
)

// startReasons are the reasons that a command may give for moving the log start; their place is what the command says.
func startReasons() []string {
	return []string{reasonUnknown, commitlog.ExpiredByAge, commitlog.ExpiredBySize, reasonRecords}
}

func reasonByte(reason string) byte {
	for i, r := range startReasons() {
		if r == reason {
			return byte(i) //nolint:gosec // few
		}
	}
	return 0
}

func reasonOf(b byte) string {
	if all := startReasons(); int(b) < len(all) {
		return all[b]
	}
	return reasonUnknown
}

// retainer has the leaders here look for what has expired.
func (h *Host) retainer() {
	tick := time.NewTicker(h.opts.RetentionInterval)
	defer tick.Stop()
	var clock retentionClock
	for {
		select {
		case <-h.ctx.Done():
			return
		case now := <-tick.C:
			trusted := clock.trusts(now, time.Duration(monotonic()))
			if clock.jumped {
				h.logger.Warn("the clock has jumped ahead: nothing is deleted by age until it has stood for a while", "hold", clockHold)
				clock.jumped = false
			}
			for _, p := range h.all() {
				p.retain(h.ctx, now, trusted)
			}
		}
	}
}

// retain proposes a new log start if something has expired. byAge: the clock may be believed.
func (p *Partition) retain(ctx context.Context, now time.Time, byAge bool) {
	c := p.config.Load()
	if !p.isLeader.Load() || p.shard.condemned() {
		return
	}
	off := p.Offsets()
	to, reason := off.LogStart, ""
	if c.Delete {
		r := commitlog.Retention{Age: c.RetentionAge, Bytes: c.RetentionBytes}
		if !byAge {
			r.Age = -1
		}
		var err error
		if to, reason, err = p.shard.log.now().Expired(r, now, off.HighWatermark); err != nil {
			if unreadable(err) {
				err = p.readError(err)
			}
			p.logger.Warn("what has expired cannot be told", "error", err)
			return
		}
	}
	// Once more where all is gone: the segment that was being written is closed by the next entry, and can go after that. And once
	// more after each move: Raft lets go of its log only when something has been applied since it did so the last time, and what a
	// replica could not delete then would stay until somebody writes.
	more := to > off.LogStart || p.shard.spent()
	if !more && !p.sweepAgain.Load() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, retainTimeout)
	defer cancel()
	if err := p.propose(ctx, encodeLogStart(to, reason)); err != nil {
		p.logger.Debug("log start not moved", "error", err)
		return
	}
	p.sweepAgain.Store(more)
	if to > off.LogStart {
		p.logger.Info("records have expired", "log_start_offset", int64(to), "reason", reason)
	}
}

// spent reports whether the active segment holds nothing but what lies below the log start.
func (s *shardLog) spent() bool {
	end := s.log.End()
	return end.Pos > 0 && s.log.LogStart() >= end.Next
}

// rollSpent begins a new segment where the active one is spent, so that it can be deleted. Only the step worker calls it.
func (s *shardLog) rollSpent() error {
	if !s.spent() {
		return nil
	}
	return s.log.now().Roll() //nolint:wrapcheck // wrapped by the caller
}

const (
	// clockJump is how much further than the monotonic clock the wall clock may have moved between two looks.
	clockJump = 10 * time.Minute
	// clockHold is how long after a jump nothing is deleted by age: time for somebody, or NTP, to set it right.
	clockHold = time.Hour
)

// retentionClock keeps a clock that jumps ahead from making everything old at once.
type retentionClock struct {
	wall      time.Time
	mono      time.Duration
	heldUntil time.Duration // by the monotonic clock
	jumped    bool          // since the last time that it was cleared
}

// trusts reports whether the wall clock may be believed, given both clocks at one moment.
func (c *retentionClock) trusts(wall time.Time, mono time.Duration) bool {
	wall = wall.Round(0) // without its monotonic reading
	if !c.wall.IsZero() {
		switch ahead := wall.Sub(c.wall) - (mono - c.mono); {
		case ahead > clockJump:
			c.heldUntil, c.jumped = mono+clockHold, true
		case ahead < -clockJump:
			c.heldUntil = 0 // set back: the jump has been undone
		}
	}
	c.wall, c.mono = wall, mono
	return mono >= c.heldUntil
}

// DeleteRecords moves the log start of all replicas to o, or to the high watermark where o is -1, and returns the log start.
// Errors: ErrOffsetOutOfRange, ErrNotLeader, ctx's.
func (p *Partition) DeleteRecords(ctx context.Context, o record.Offset) (record.Offset, error) {
	off := p.Offsets()
	if o == -1 {
		o = off.HighWatermark
	}
	if o < 0 || o > off.HighWatermark {
		return 0, ErrOffsetOutOfRange
	}
	if o > off.LogStart {
		if err := p.propose(ctx, encodeLogStart(o, reasonRecords)); err != nil {
			return 0, err
		}
		p.sweepAgain.Store(true)
	} else if !p.isLeader.Load() {
		return 0, ErrNotLeader
	}
	return p.shard.log.LogStart(), nil
}
