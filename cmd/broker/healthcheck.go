package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/stelemq/stele/internal/config"
)

func newHealthcheck(s streams) *cobra.Command {
	var address string
	var ready bool
	var timeout time.Duration
	cmd := &cobra.Command{
		Use: "healthcheck", Short: "Ask the broker on this machine whether it is well", GroupID: groupRun, Args: cobra.NoArgs,
		Long: `Asks /healthz (the process works) or /readyz (it can serve) of the broker on this machine, for container health
checks and scripts. Exit code 0 if it is well, 1 if not, with the reasons on standard error.`,
		Example: "  broker healthcheck\n  broker healthcheck --ready --http 127.0.0.1:8081",
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
			defer cancel()
			path := "/healthz"
			if ready {
				path = "/readyz"
			}
			return askHealth(ctx, s, "http://"+dialable(address)+path)
		},
	}
	def := os.Getenv(config.EnvName("http.listen"))
	if def == "" {
		def = "127.0.0.1:8080"
	}
	cmd.Flags().StringVar(&address, "http", def, "the broker's http.listen; default also from "+config.EnvName("http.listen"))
	cmd.Flags().BoolVar(&ready, "ready", false, "ask whether it can serve, not only whether it works")
	cmd.Flags().DurationVar(&timeout, "timeout", 5*time.Second, "how long to wait for the answer")
	return cmd
}

// dialable turns an address that is bound into one that can be dialled.
func dialable(address string) string {
	h, port, err := net.SplitHostPort(address)
	if err != nil {
		return address
	}
	if ip := net.ParseIP(h); h == "" || ip != nil && ip.IsUnspecified() {
		h = "127.0.0.1"
	}
	return net.JoinHostPort(h, port)
}

func askHealth(ctx context.Context, s streams, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return usageErrorf("%v", err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err //nolint:wrapcheck // says operation and address
	}
	defer resp.Body.Close() //nolint:errcheck // read only
	const most = 64 << 10
	body, err := io.ReadAll(io.LimitReader(resp.Body, most))
	if err != nil {
		return fmt.Errorf("%s: %w", url, err)
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s: %s", url, resp.Status, strings.TrimSpace(string(body)))
	}
	fmt.Fprintln(s.out, strings.TrimSpace(string(body)))
	return nil
}
