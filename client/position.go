package client

import (
	"fmt"
	"time"
)

// Position is a place in a partition: an offset, or a rule that gives one.
// The zero value is the start.
type Position struct {
	kind positionKind
	n    int64 // offset, distance, or milliseconds since 1970
}

type positionKind int8

const (
	fromStart positionKind = iota
	fromEnd
	atOffset
	atTime
)

// Start is the first record that the partition still has.
func Start() Position { return Position{} }

// End is the place of the next record to be written.
func End() Position { return Position{kind: fromEnd} }

// At is an offset.
func At(offset int64) Position { return Position{atOffset, offset} }

// AfterStart is n offsets after the start.
func AfterStart(n int64) Position { return Position{fromStart, n} }

// BeforeEnd is n offsets before the end, but not before the start.
func BeforeEnd(n int64) Position { return Position{fromEnd, n} }

// AtTime is the first record whose timestamp is t or later, and the end if
// there is none.
func AtTime(t time.Time) Position { return Position{atTime, t.UnixMilli()} }

// String returns the position as consumer -o takes it.
func (p Position) String() string {
	switch {
	case p.kind == atOffset:
		return fmt.Sprint(p.n)
	case p.kind == atTime:
		return "@" + time.UnixMilli(p.n).UTC().Format(time.RFC3339Nano)
	case p.kind == fromStart && p.n == 0:
		return "start"
	case p.kind == fromStart:
		return fmt.Sprintf("+%d", p.n)
	case p.n == 0:
		return "end"
	default:
		return fmt.Sprintf("-%d", p.n)
	}
}
