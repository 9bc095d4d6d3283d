package machine

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// Usage is what processes used since they began.
type Usage struct {
	CPU time.Duration `json:"cpu"`
	// RSS is resident memory now, in bytes.
	RSS int64 `json:"rss"`
}

// Sub is what was used since an earlier reading; RSS stays.
func (u Usage) Sub(earlier Usage) Usage {
	return Usage{CPU: u.CPU - earlier.CPU, RSS: u.RSS}
}

// clockTick is USER_HZ, which Linux fixes at 100 for what it shows in /proc.
const clockTick = time.Second / 100

// ReadUsage adds up the processes. A process that has ended is an error.
func ReadUsage(pids []int) (Usage, error) {
	var sum Usage
	for _, pid := range pids {
		u, err := readUsage(pid)
		if err != nil {
			return Usage{}, fmt.Errorf("usage of process %d: %w", pid, err)
		}
		sum.CPU += u.CPU
		sum.RSS += u.RSS
	}
	return sum, nil
}

func readUsage(pid int) (Usage, error) {
	dir := "/proc/" + strconv.Itoa(pid)
	stat, err := os.ReadFile(dir + "/stat")
	if err != nil {
		return Usage{}, err //nolint:wrapcheck // says operation and path
	}
	// The second field is the program's name in parentheses and may hold anything.
	words := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	const user, system = 11, 12 // proc_pid_stat(5), counted from the third field
	if len(words) <= system {
		return Usage{}, fmt.Errorf("%s/stat: %d fields", dir, len(words))
	}
	var ticks int64
	for _, w := range words[user : system+1] {
		n, err := strconv.ParseInt(w, 10, 64)
		if err != nil {
			return Usage{}, fmt.Errorf("%s/stat: %w", dir, err)
		}
		ticks += n
	}
	return Usage{
		CPU: time.Duration(ticks) * clockTick,
		RSS: number(strings.TrimSuffix(field(dir+"/status", "VmRSS"), " kB")) << 10,
	}, nil
}

func number(text string) int64 {
	n, _ := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
	return n
}
