package main

import (
	"fmt"

	"github.com/stelemq/stele/internal/config"
)

func parseSize(text string) (int64, error) {
	n, err := config.ParseSize(text)
	if err != nil {
		return 0, err //nolint:wrapcheck // says all
	}
	return int64(n), nil
}

// parseMillis reads a time in milliseconds. The largest number there is means for ever; it is no time.Duration.
func parseMillis(text string) (int64, error) {
	const forever = "9223372036854775807"
	if text == forever {
		return 1<<63 - 1, nil
	}
	d, err := config.ParseDuration(text, "ms")
	if err != nil {
		return 0, err //nolint:wrapcheck // says all
	}
	return d.Milliseconds(), nil
}

// humanBytes is a size for people, with one digit after the point.
func humanBytes(n int64) string {
	const step = 1024
	units := []string{"B", "KiB", "MiB", "GiB", "TiB", "PiB"}
	value, i := float64(n), 0
	for value >= step && i < len(units)-1 {
		value /= step
		i++
	}
	if i == 0 {
		return fmt.Sprintf("%dB", n)
	}
	return fmt.Sprintf("%.1f%s", value, units[i])
}
