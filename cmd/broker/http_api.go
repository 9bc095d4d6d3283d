package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/stelemq/stele/internal/cli"
	"github.com/stelemq/stele/internal/config"
)

// apiError is a refusal in the broker's words.
type apiError struct {
	Text    string             `json:"error"`
	Blocked []blockedPartition `json:"blocked,omitempty"`
}

// blockedPartition cannot leave a node.
type blockedPartition struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Reason    string `json:"reason"`
}

func (e *apiError) Error() string {
	text := e.Text
	if len(e.Blocked) > 0 {
		text += ": " + blockedText(e.Blocked)
	}
	return text
}

// blockedText names a few of the partitions.
func blockedText(blocked []blockedPartition) string {
	const most = 5
	var parts []string
	for _, b := range blocked[:min(most, len(blocked))] {
		parts = append(parts, fmt.Sprintf("%s/%d (%s)", b.Topic, b.Partition, b.Reason))
	}
	text := strings.Join(parts, ", ")
	if more := len(blocked) - most; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

// httpAPI asks brokers by HTTP for what Kafka's protocol has no request for.
type httpAPI struct{ addresses string }

func (h *httpAPI) addFlag(cmd *cobra.Command) {
	cmd.Flags().StringVar(&h.addresses, "http", defaultHTTP(), "http.listen of a broker, several by commas; default also from "+config.EnvName("http.listen"))
}

// defaultHTTP is where a broker of this machine answers HTTP: as the environment says, those of the development cluster of
// this folder, or the default.
func defaultHTTP() string {
	if v := os.Getenv(config.EnvName("http.listen")); v != "" {
		return v
	}
	if d, err := cli.ReadDevCluster(cli.DevDir); err == nil && d.Running() > 0 {
		var all []string
		for _, n := range d.Nodes {
			if n.Running() {
				all = append(all, n.HTTP)
			}
		}
		return strings.Join(all, ",")
	}
	return "127.0.0.1:8080"
}

// call asks the first broker that answers; its answer is decoded into result.
func (h *httpAPI) call(ctx context.Context, method, path string, result any) error {
	return h.callUntil(ctx, method, path, result, func() bool { return true })
}

// callUntil asks one broker after the other until an answer is good; it is decoded into result. Where none is, the last one
// stays.
func (h *httpAPI) callUntil(ctx context.Context, method, path string, result any, good func() bool) error {
	var last error
	answers := false
	for address := range strings.SplitSeq(h.addresses, ",") {
		answered, err := h.callOne(ctx, "http://"+dialable(strings.TrimSpace(address))+path, method, result)
		if answers = answers || err == nil; err == nil && good() {
			return nil
		}
		if err != nil && answered {
			return err
		}
		last = errors.Join(last, err)
	}
	if answers {
		return nil
	}
	return fmt.Errorf("%w. Name a broker's http.listen with --http", last)
}

func (h *httpAPI) callOne(ctx context.Context, url, method string, result any) (answered bool, err error) {
	req, err := http.NewRequestWithContext(ctx, method, url, http.NoBody)
	if err != nil {
		return false, err //nolint:wrapcheck // says all
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false, err //nolint:wrapcheck // says operation and address
	}
	defer resp.Body.Close() //nolint:errcheck // read only
	const most = 16 << 20
	text, err := io.ReadAll(io.LimitReader(resp.Body, most))
	if err != nil {
		return false, fmt.Errorf("%s: %w", url, err)
	}
	if resp.StatusCode/100 != 2 {
		var e apiError
		if json.Unmarshal(text, &e) == nil && e.Text != "" {
			return true, &e
		}
		return true, fmt.Errorf("%s: %s", url, resp.Status)
	}
	if err := json.Unmarshal(text, result); err != nil {
		return true, fmt.Errorf("%s: %w", url, err)
	}
	return true, nil
}
