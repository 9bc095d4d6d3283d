//go:build race

package brokertest_test

// raceEnabled: the race detector makes everything several times slower, so times are not judged.
const raceEnabled = true
