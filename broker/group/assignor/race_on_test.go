//go:build race

package assignor_test

const raceEnabled = true
