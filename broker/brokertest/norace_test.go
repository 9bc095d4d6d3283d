//go:build !race

package brokertest_test

const raceEnabled = false
