//go:build !linux

package load

import "time"

func precise() {}

func sleep(d time.Duration) { time.Sleep(d) }
