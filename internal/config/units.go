package config

import (
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"
	"time"
)

// unit is a word after a number and how many base units (bytes, nanoseconds) it stands for.
type unit struct {
	name string
	size int64
}

// sizeUnits, the largest first; only the binary ones are printed.
func sizeUnits() []unit {
	return []unit{
		{"TiB", 1 << 40},
		{"GiB", 1 << 30},
		{"MiB", 1 << 20},
		{"KiB", 1 << 10},
		{"TB", 1e12},
		{"GB", 1e9},
		{"MB", 1e6},
		{"kB", 1e3},
		{"KB", 1e3},
		{"B", 1},
	}
}

// timeUnits, the largest first.
func timeUnits() []unit {
	return []unit{
		{"d", int64(24 * time.Hour)},
		{"h", int64(time.Hour)},
		{"min", int64(time.Minute)},
		{"m", int64(time.Minute)},
		{"s", int64(time.Second)},
		{"ms", int64(time.Millisecond)},
		{"us", int64(time.Microsecond)},
		{"ns", 1},
	}
}

func unitSize(units []unit, name string) (int64, bool) {
	for _, u := range units {
		if u.name == name {
			return u.size, true
		}
	}
	return 0, false
}

// ParseSize reads a number of bytes: plain, or with B, kB, MB, GB, TB (thousands) or KiB, MiB, GiB, TiB.
func ParseSize(text string) (Size, error) {
	number, word := splitNumber(text)
	if word == "" {
		word = "B"
	}
	size, ok := unitSize(sizeUnits(), word)
	if !ok {
		return 0, fmt.Errorf("%q is not a size: write bytes, or KiB, MiB, GiB after the number", text)
	}
	n, err := scale(number, size)
	if err != nil {
		return 0, fmt.Errorf("%q is not a size: %w", text, err)
	}
	return Size(n), nil
}

// ParseDuration reads a time: numbers each followed by d, h, min (or m), s, ms, us or ns, as in 7d or 1h30m;
// a plain number is counted in plain, where that is not empty.
func ParseDuration(text, plain string) (time.Duration, error) {
	var total int64
	rest := text
	for rest != "" || text == "" {
		number, after := splitNumber(rest)
		word, next := splitWord(after)
		if word == "" && rest == text && number != "" && next == "" {
			word = plain
		}
		size, ok := unitSize(timeUnits(), word)
		if !ok {
			return 0, fmt.Errorf("%q is not a time: write 500ms, 30s, 10min, 2h or 7d", text)
		}
		n, err := scale(number, size)
		if err != nil {
			return 0, fmt.Errorf("%q is not a time: %w", text, err)
		}
		if n > math.MaxInt64-total {
			return 0, fmt.Errorf("%q is not a time: too large", text)
		}
		total += n
		rest = next
	}
	return time.Duration(total), nil
}

// splitNumber cuts text after its leading number.
func splitNumber(text string) (number, rest string) {
	end := strings.IndexFunc(text, func(r rune) bool { return (r < '0' || r > '9') && r != '.' })
	if end < 0 {
		end = len(text)
	}
	return text[:end], strings.TrimLeft(text[end:], " ")
}

// splitWord cuts text after its leading letters.
func splitWord(text string) (word, rest string) {
	end := strings.IndexFunc(text, func(r rune) bool { return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') })
	if end < 0 {
		end = len(text)
	}
	return text[:end], strings.TrimLeft(text[end:], " ")
}

// scale multiplies a decimal number by size, exactly.
func scale(number string, size int64) (int64, error) {
	if len(number) > 40 {
		return 0, fmt.Errorf("too large")
	}
	r, ok := new(big.Rat).SetString(number)
	if !ok || number == "" {
		return 0, fmt.Errorf("a number is missing")
	}
	r.Mul(r, new(big.Rat).SetInt64(size))
	if !r.IsInt() {
		return 0, fmt.Errorf("not a whole number")
	}
	if !r.Num().IsInt64() {
		return 0, fmt.Errorf("too large")
	}
	return r.Num().Int64(), nil
}

// String is the size as ParseSize reads it, in the largest binary unit that keeps it whole.
func (s Size) String() string {
	for _, u := range sizeUnits()[:4] {
		if s >= Size(u.size) && s%Size(u.size) == 0 {
			return strconv.FormatInt(int64(s)/u.size, 10) + u.name
		}
	}
	return strconv.FormatInt(int64(s), 10)
}

// FormatDuration is the time as ParseDuration reads it, in the largest unit that keeps it whole.
func FormatDuration(d time.Duration) string {
	for _, u := range timeUnits() {
		if u.name != "m" && d != 0 && int64(d)%u.size == 0 {
			return strconv.FormatInt(int64(d)/u.size, 10) + u.name
		}
	}
	return "0s"
}
