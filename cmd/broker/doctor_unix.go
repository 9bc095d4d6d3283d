//go:build unix

package main

import (
	"fmt"

	"golang.org/x/sys/unix"
)

func examineFiles() finding {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return finding{"open files", findingWarn, err.Error()}
	}
	x := finding{"open files", findingOK, fmt.Sprintf("at most %d", limit.Max)}
	if limit.Max < filesWanted {
		x.Status, x.Detail = findingWarn, fmt.Sprintf("at most %d: raise the limit (LimitNOFILE, ulimit -n) to %d or more", limit.Max, filesWanted)
	}
	return x
}
