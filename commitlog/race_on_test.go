//go:build race

package commitlog_test

// raceEnabled: the race detector is on; what looks for lost bytes may look less long.
const raceEnabled = true
