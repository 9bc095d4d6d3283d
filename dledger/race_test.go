//go:build race

package dledger

const raceEnabled = true
