package broker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"time"

	"github.com/klauspost/compress/gzhttp"
	"github.com/klauspost/compress/gzip"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// httpServer serves /metrics, /healthz, /readyz and, on loopback, /debug/pprof and /admin.
type httpServer struct {
	listener net.Listener
	server   *http.Server
	done     chan struct{}
}

const (
	httpHeaderTimeout = 5 * time.Second
	httpReadTimeout   = 10 * time.Second
	httpIdleTimeout   = 2 * time.Minute
	httpStopTimeout   = time.Second
	httpMaxHeader     = 16 << 10
)

// listenHTTP opens the HTTP listener, nil where none is configured.
func (b *Broker) listenHTTP(ctx context.Context) (*httpServer, error) {
	if b.opts.Config.HTTPListen == "" {
		return nil, nil //nolint:nilnil // no listener is configured
	}
	var config net.ListenConfig
	l, err := config.Listen(ctx, "tcp", b.opts.Config.HTTPListen)
	if err != nil {
		return nil, fmt.Errorf("http listener: %w", err)
	}
	h := &httpServer{listener: l, done: make(chan struct{})}
	h.server = &http.Server{
		Handler: b.httpHandler(), ReadHeaderTimeout: httpHeaderTimeout, ReadTimeout: httpReadTimeout, IdleTimeout: httpIdleTimeout, MaxHeaderBytes: httpMaxHeader,
	}
	go func() {
		defer close(h.done)
		if err := h.server.Serve(l); err != nil && !errors.Is(err, http.ErrServerClosed) {
			b.log.Error("http listener failed", "error", err)
		}
	}()
	return h, nil
}

func (h *httpServer) stop() {
	if h == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), httpStopTimeout)
	defer cancel()
	if err := h.server.Shutdown(ctx); err != nil {
		_ = h.server.Close()
	}
	<-h.done
}

func (b *Broker) httpHandler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", b.metricsHandler())
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, map[string]string{"status": "ok"})
	})
	mux.HandleFunc("GET /readyz", b.serveReady)
	mux.HandleFunc("/debug/pprof/", loopbackOnly(pprof.Index))
	mux.HandleFunc("/debug/pprof/cmdline", loopbackOnly(pprof.Cmdline))
	mux.HandleFunc("/debug/pprof/profile", loopbackOnly(pprof.Profile))
	mux.HandleFunc("/debug/pprof/symbol", loopbackOnly(pprof.Symbol))
	mux.HandleFunc("/debug/pprof/trace", loopbackOnly(pprof.Trace))
	b.handleAdmin(mux)
	return mux
}

// metricsHandler serves /metrics. Megabytes of text are compressed with little effort: more takes most of a scrape's time.
func (b *Broker) metricsHandler() http.Handler {
	h := promhttp.HandlerFor(b.gatherer, promhttp.HandlerOpts{EnableOpenMetrics: true, DisableCompression: true})
	wrap, err := gzhttp.NewWrapper(gzhttp.CompressionLevel(gzip.BestSpeed))
	if err != nil {
		return h // the level is known
	}
	return wrap(h)
}

// loopbackOnly hides a handler from everybody who is not on this machine, however the listener is bound.
// The address that was connected to must be a loopback one as well: a proxy on this machine that serves
// others usually reaches the broker by it, so a request that says it was forwarded is refused too.
func loopbackOnly(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		host, _, err := net.SplitHostPort(r.RemoteAddr)
		local, _ := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
		ip := net.ParseIP(host)
		forwarded := r.Header.Get("X-Forwarded-For") != "" || r.Header.Get("Forwarded") != ""
		if err != nil || ip == nil || !ip.IsLoopback() || local == nil || !local.IP.IsLoopback() || forwarded {
			http.NotFound(w, r)
			return
		}
		next(w, r)
	}
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}

// readinessReport is the answer of /readyz.
type readinessReport struct {
	Status string `json:"status"` // ready or not ready
	// Reasons why it is not ready, one sentence each.
	Reasons []string `json:"reasons,omitempty"`
	// Checks are shown with ?verbose.
	Checks []checkResult `json:"checks,omitempty"`
}

type checkResult struct {
	Name   string `json:"name"`
	OK     bool   `json:"ok"`
	Reason string `json:"reason,omitempty"`
}

func (r readinessReport) ready() bool { return len(r.Reasons) == 0 }

// serveReady answers 200 when the broker can do its work and 503 with reasons when it cannot.
func (b *Broker) serveReady(w http.ResponseWriter, r *http.Request) {
	report := b.readiness()
	if !r.URL.Query().Has("verbose") {
		report.Checks = nil
	}
	status := http.StatusOK
	if !report.ready() {
		status = http.StatusServiceUnavailable
	}
	writeJSON(w, status, report)
}

// readiness runs all checks.
func (b *Broker) readiness() readinessReport {
	checks := append([]Check{
		{"listeners", b.checkListeners},
		{"metadata", b.checkMetadata},
		{"partitions", b.checkPartitions},
	}, b.opts.Checks...)
	report := readinessReport{Status: "ready"}
	for _, c := range checks {
		result := checkResult{Name: c.Name, OK: true}
		if err := c.Ready(); err != nil {
			result.OK, result.Reason = false, err.Error()
			report.Reasons = append(report.Reasons, c.Name+": "+result.Reason)
		}
		report.Checks = append(report.Checks, result)
	}
	if !report.ready() {
		report.Status = "not ready"
	}
	return report
}

func (b *Broker) checkListeners() error {
	select {
	case <-b.drained:
		return errors.New("the broker is shutting down")
	default:
	}
	if b.server.Load() == nil {
		return errors.New("listeners are not open yet")
	}
	return nil
}

func (b *Broker) checkMetadata() error {
	if err := b.opts.Metadata.Err(); err != nil {
		return fmt.Errorf("the metadata has stopped: %w", err)
	}
	if _, ok := b.opts.Metadata.Image().Broker(b.opts.NodeID); !ok {
		return fmt.Errorf("node %d is not registered in the cluster's metadata yet", b.opts.NodeID)
	}
	return nil
}

func (b *Broker) checkPartitions() error {
	if n := b.partitions.opening.Load(); n > 0 {
		return fmt.Errorf("%d partitions are still being opened", n)
	}
	return nil
}
