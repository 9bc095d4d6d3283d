//go:build !race

package protocol

// raceEnabled is false: allocations can be measured.
const raceEnabled = false
