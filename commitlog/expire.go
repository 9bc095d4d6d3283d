package commitlog

import (
	"fmt"
	"time"

	"github.com/stelemq/stele/protocol/record"
)

// Retention says how long records are kept (retention.ms) and how many bytes of them (retention.bytes); negative values bound
// nothing.
type Retention struct {
	Age   time.Duration
	Bytes int64
}

// Reasons for which records expire, as Expired returns them.
const (
	ExpiredByAge  = "time"
	ExpiredBySize = "size"
)

// Expired returns up to which offset records may go, and why: whole segments from the oldest on, none that reaches beyond
// upTo, as Kafka's LocalLog.deletableSegments. It is the log start where nothing may go. A segment is as old as its largest timestamp;
// where that is missing or lies in the future, as old as its file, so that a wrong clock of a producer keeps nothing for
// ever. The active segment expires by age like the others, though its file stays until the next one begins. Nothing is
// changed. Errors: *CorruptionError, ErrClosed, or of reading. Concurrent.
func (l *Log) Expired(r Retention, now time.Time, upTo record.Offset) (record.Offset, string, error) {
	if l.closed.Load() {
		return 0, "", ErrClosed
	}
	segs, start := *l.segments.Load(), l.LogStart()
	to, reason := start, ""
	first := 0
	for first+1 < len(segs) && segs[first+1].base <= start {
		first++ // gone already, but for the file
	}
	over := int64(0)
	if r.Bytes >= 0 {
		over = -r.Bytes
		for _, s := range segs[first:] {
			over += s.size.Load()
		}
	}
	for i := first; i < len(segs); i++ {
		s, next := segs[i], l.nextOf(segs, i)
		size := s.size.Load()
		if next > upTo || size == 0 || next <= start {
			break
		}
		active := i+1 == len(segs)
		switch old, err := l.outlived(s, next, r.Age, now); {
		case err != nil:
			return start, "", err
		case old:
			to, reason = next, ExpiredByAge
		case !active && over >= size:
			to, reason = next, ExpiredBySize
		default:
			return to, reason, nil
		}
		over -= size
	}
	return to, reason, nil
}

// outlived reports whether the newest record of a segment is older than age.
func (l *Log) outlived(s *segment, next record.Offset, age time.Duration, now time.Time) (bool, error) {
	if age < 0 {
		return false, nil
	}
	newest, err := s.maxTimestamp(next)
	if err != nil {
		return false, err
	}
	at := time.UnixMilli(newest.ts)
	if newest.ts < 0 || at.After(now) {
		fi, err := l.env.fs.Stat(s.log.path)
		if err != nil {
			return false, fmt.Errorf("age of segment %d: %w", s.base, err)
		}
		at = fi.ModTime()
	}
	return now.Sub(at) > age, nil
}
