package main

import (
	"os"
	"strings"
	"sync"
	"time"

	"github.com/stelemq/stele/internal/cli"
)

const (
	progressEvery = 200 * time.Millisecond
	barWidth      = 24
)

// startProgress draws a line of progress until the function that it returns is
// called. Only a terminal gets one.
func (s *session) startProgress() (stop func()) {
	if !s.o.progress || !cli.IsTerminal(s.stderr) {
		return func() {}
	}
	size := inputSize(s.stdin)
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(progressEvery)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				s.say("\r%s\x1b[K", s.progressLine(size))
			case <-done:
				s.say("\r\x1b[K")
				return
			}
		}
	})
	return func() {
		close(done)
		wg.Wait()
	}
}

// inputSize is the size of the input if it is a file, or 0.
func inputSize(stdin any) int64 {
	f, ok := stdin.(*os.File)
	if !ok {
		return 0
	}
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return 0
	}
	return info.Size()
}

func (s *session) progressLine(size int64) string {
	s.mu.Lock()
	acked, bytes := s.acked, s.bytes
	s.mu.Unlock()
	seconds := max(time.Since(s.began).Seconds(), 0.001)
	line := cli.Plural(acked, "record") + "  " + cli.Bytes(bytes) + "  " +
		cli.Count(int64(float64(acked)/seconds)) + "/s  " + cli.Bytes(int64(float64(bytes)/seconds)) + "/s"
	if size > 0 {
		full := int(min(barWidth, barWidth*(bytes+acked)/size)) // a line's end is not part of its record
		line = "[" + strings.Repeat("#", full) + strings.Repeat(".", barWidth-full) + "] " + line
	}
	return line
}
