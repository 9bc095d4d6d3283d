//go:build race

package protocol

// raceEnabled is true with the race detector, under which allocations differ.
const raceEnabled = true
