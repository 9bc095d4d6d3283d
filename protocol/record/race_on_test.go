//go:build race

package record_test

// raceEnabled is true with the race detector, under which allocations differ.
const raceEnabled = true
