package cli

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// ParseBytes reads a size: 1048576, 64KiB, 1.5MB, 1m. Units of two letters with
// B count in thousands; one letter, or with i, in 1024.
func ParseBytes(s string) (int64, error) {
	i := strings.IndexFunc(s, func(r rune) bool { return r != '.' && !unicode.IsDigit(r) })
	if i < 0 {
		i = len(s)
	}
	n, err := strconv.ParseFloat(s[:i], 64)
	factor, ok := byteUnit(strings.ToLower(strings.TrimSpace(s[i:])))
	if err != nil || !ok || n*factor > math.MaxInt64/2 {
		return 0, fmt.Errorf("%q is not a size; write it as 1048576, 64KiB or 1MiB", s)
	}
	return int64(n * factor), nil
}

func byteUnit(u string) (float64, bool) {
	if u == "" || u == "b" {
		return 1, true
	}
	power := strings.IndexByte("kmgt", u[0]) + 1
	if power == 0 {
		return 0, false
	}
	switch u[1:] {
	case "", "ib":
		return math.Pow(1024, float64(power)), true
	case "b":
		return math.Pow(1000, float64(power)), true
	}
	return 0, false
}

// ParseDuration is time.ParseDuration with days and weeks: 7d, 2w, 1d12h.
func ParseDuration(s string) (time.Duration, error) {
	rest, negative := strings.CutPrefix(s, "-")
	var total time.Duration
	for _, unit := range []struct {
		suffix string
		length time.Duration
	}{{"w", 7 * 24 * time.Hour}, {"d", 24 * time.Hour}} {
		before, after, ok := strings.Cut(rest, unit.suffix)
		if !ok {
			continue
		}
		n, err := strconv.ParseFloat(before, 64)
		if err != nil || n < 0 {
			return 0, fmt.Errorf("%q is not a duration; write it as 90s, 1h30m or 7d", s)
		}
		total += time.Duration(n * float64(unit.length))
		rest = after
	}
	if rest != "" {
		d, err := time.ParseDuration(rest)
		if err != nil || d < 0 {
			return 0, fmt.Errorf("%q is not a duration; write it as 90s, 1h30m or 7d", s)
		}
		total += d
	} else if strings.TrimLeft(s, "-") == "" {
		return 0, fmt.Errorf("%q is not a duration; write it as 90s, 1h30m or 7d", s)
	}
	if negative {
		total = -total
	}
	return total, nil
}

// ParseRate reads a rate: 500, 500/s, 30/m, 1000/h. It returns events per
// second.
func ParseRate(s string) (float64, error) {
	number, unit, _ := strings.Cut(s, "/")
	n, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	per, ok := map[string]float64{"": 1, "s": 1, "m": 60, "h": 3600}[unit]
	if err != nil || !ok || n <= 0 || math.IsInf(n, 0) {
		return 0, fmt.Errorf("%q is not a rate; write it as 500/s or 30/m", s)
	}
	return n / per, nil
}

// Bytes shows a size for people: 512 B, 7.1 MiB.
func Bytes(n int64) string {
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	f, unit := float64(n)/1024, 0
	for f >= 1024 && unit < 3 {
		f /= 1024
		unit++
	}
	return fmt.Sprintf("%.1f %ciB", f, "KMGT"[unit])
}

// Count shows a number in groups of three: 48 213.
func Count(n int64) string {
	s := strconv.FormatInt(n, 10)
	var b strings.Builder
	for i, c := range []byte(s) {
		if i > 0 && (len(s)-i)%3 == 0 && s[i-1] != '-' {
			b.WriteByte(' ')
		}
		b.WriteByte(c)
	}
	return b.String()
}

// Plural is a count with its noun: 1 record, 48 213 records.
func Plural(n int64, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return Count(n) + " " + noun + "s"
}

// Elapsed shows a duration for people: 12ms, 1.9s, 2m5s.
func Elapsed(d time.Duration) string {
	switch {
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d < time.Minute:
		return fmt.Sprintf("%.1fs", d.Seconds())
	default:
		return d.Round(time.Second).String()
	}
}
