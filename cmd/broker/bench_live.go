package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/stelemq/stele/bench/load"
	"github.com/stelemq/stele/internal/cli"
)

// benchLive shows what a run does while it does it: a line on a terminal, metrics for Prometheus.
type benchLive struct {
	w       io.Writer
	current atomic.Pointer[load.Meter]
	metrics *load.Metrics
}

func newBenchLive(w io.Writer) *benchLive {
	l := &benchLive{w: w}
	l.metrics = load.NewMetrics(l.current.Load)
	return l
}

// meter of the next run.
func (l *benchLive) meter() *load.Meter {
	m := load.NewMeter(l.metrics.Observe)
	l.current.Store(m)
	return m
}

// serve answers /metrics on the address until the function that it returns is called.
func (l *benchLive) serve(address string) (stop func(), err error) {
	listener, err := new(net.ListenConfig).Listen(context.Background(), "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("--metrics: %w", err)
	}
	mux := http.NewServeMux()
	mux.Handle("/metrics", promhttp.HandlerFor(l.metrics.Registry, promhttp.HandlerOpts{}))
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	go server.Serve(listener) //nolint:errcheck // it ends by Close
	fmt.Fprintf(l.w, "metrics of this run: http://%s/metrics\n", listener.Addr())
	return func() { _ = server.Close() }, nil
}

// draw shows the line on a terminal until the function that it returns is called.
func (l *benchLive) draw(name string) (stop func()) {
	m := l.current.Load()
	if m == nil || !cli.IsTerminal(l.w) {
		return func() {}
	}
	const every = 500 * time.Millisecond
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		last, at := m.Snapshot(), time.Now()
		for {
			select {
			case <-done:
				fmt.Fprint(l.w, "\r\x1b[K")
				return
			case now := <-tick.C:
				s := m.Snapshot()
				seconds := now.Sub(at).Seconds()
				fmt.Fprintf(l.w, "\r%s: %s/s  %s/s  p50 %.2f ms  p99 %.2f ms  %s\x1b[K", name,
					cli.Count(int64(float64(s.Records-last.Records)/seconds)), cli.Bytes(int64(float64(s.Bytes-last.Bytes)/seconds)),
					s.P50.Seconds()*1000, s.P99.Seconds()*1000, cli.Plural(s.Errors, "error"))
				last, at = s, now
			}
		}
	})
	return func() {
		close(done)
		wg.Wait()
	}
}
