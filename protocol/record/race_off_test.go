//go:build !race

package record_test

// raceEnabled is false: allocations can be measured.
const raceEnabled = false
