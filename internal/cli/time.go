package cli

import (
	"strconv"
	"time"
)

// millisFrom is the number from which a number is milliseconds rather than
// seconds since 1970: as seconds it would be the year 5138.
const millisFrom = 100_000_000_000

// ParseTime reads a distance from now, a date, a time, or a number of seconds
// or milliseconds since 1970.
func ParseTime(s string, now time.Time) (time.Time, bool) {
	if n, err := strconv.ParseInt(s, 10, 64); err == nil && n >= 0 {
		if n >= millisFrom {
			return time.UnixMilli(n), true
		}
		return time.Unix(n, 0), true
	}
	if d, err := ParseDuration(s); err == nil {
		if d > 0 {
			d = -d
		}
		return now.Add(d), true
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02T15:04", "2006-01-02"} {
		if t, err := time.ParseInLocation(layout, s, time.Local); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}
