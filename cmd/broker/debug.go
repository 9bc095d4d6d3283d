package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/stelemq/stele/client"
)

func newDebug(s streams) *cobra.Command {
	return parent("debug", "Collect what helps to find out what is wrong", "  broker debug bundle", groupAdmin, newDebugBundle(s))
}

// bundle collects files; what cannot be had is written down in its place.
type bundle struct {
	tar   *tar.Writer
	now   time.Time
	names []string
}

func (b *bundle) add(name string, content []byte) error {
	h := &tar.Header{Name: name, Mode: 0o600, Size: int64(len(content)), ModTime: b.now}
	if err := b.tar.WriteHeader(h); err != nil {
		return fmt.Errorf("bundle: %w", err)
	}
	if _, err := b.tar.Write(content); err != nil {
		return fmt.Errorf("bundle: %w", err)
	}
	b.names = append(b.names, fmt.Sprintf("%8d  %s", len(content), name))
	return nil
}

// bundleMax bounds one file of a bundle.
const bundleMax = 64 << 20

// fetchAll reads what a broker answers, whatever the status.
func fetchAll(ctx context.Context, url string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return nil, err //nolint:wrapcheck // says all
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err //nolint:wrapcheck // says operation and address
	}
	defer resp.Body.Close() //nolint:errcheck // read only
	text, err := io.ReadAll(io.LimitReader(resp.Body, bundleMax))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", url, err)
	}
	return text, nil
}

// bundleParts are what is read from each broker that is reached by HTTP.
func bundleParts() map[string]string {
	return map[string]string{
		"metrics.txt": "/metrics", "healthz.txt": "/healthz", "readyz.json": "/readyz?verbose", "nodes.json": "/admin/v1/nodes",
		"goroutines.txt": "/debug/pprof/goroutine?debug=2", "heap.pprof": "/debug/pprof/heap",
	}
}

func newDebugBundle(s streams) *cobra.Command {
	a := &admin{streams: s}
	h := &httpAPI{}
	var out string
	cmd := &cobra.Command{
		Use: "bundle", Short: "Write state, settings and metrics of a cluster into one file", Args: cobra.NoArgs,
		Long: `Writes a .tar.gz: the cluster's health and topics, the settings of each broker (secrets are never told by brokers), and of each
broker that --http names metrics, readiness, goroutines and heap. It prints what is inside; no record of a topic is.`,
		Example: "  broker debug bundle\n  broker debug bundle --out /tmp/stele.tar.gz --http 127.0.0.1:8081,127.0.0.1:8082",
		RunE: func(cmd *cobra.Command, _ []string) error {
			now := time.Now()
			if out == "" {
				out = "stele-debug-" + now.UTC().Format("20060102T150405Z") + ".tar.gz"
			}
			var file bytes.Buffer
			zip := gzip.NewWriter(&file)
			b := &bundle{tar: tar.NewWriter(zip), now: now}
			err := errors.Join(a.bundleCluster(cmd.Context(), b), bundleBrokers(cmd.Context(), b, h.addresses, a.timeout), b.tar.Close(), zip.Close())
			if err != nil {
				return err
			}
			if err := os.WriteFile(out, file.Bytes(), 0o600); err != nil {
				return err //nolint:wrapcheck // says operation and path
			}
			fmt.Fprintf(s.out, "%s\n%s\n", strings.Join(b.names, "\n"), out)
			return nil
		},
	}
	a.addFlags(cmd)
	h.addFlag(cmd)
	cmd.Flags().StringVar(&out, "out", "", "the `file` to write; default: in this folder, named by the time")
	return cmd
}

// bundleCluster adds what brokers answer by Kafka's protocol.
func (a *admin) bundleCluster(ctx context.Context, b *bundle) error {
	json := output{format: "json"}
	put := func(name string, result answer, err error) error {
		if err != nil {
			return b.add(name+".error.txt", []byte(err.Error()+"\n"))
		}
		var text bytes.Buffer
		if err := json.write(&text, result); err != nil {
			return err
		}
		return b.add(name+".json", text.Bytes())
	}
	var failed error
	err := a.once(ctx, func(ctx context.Context, c *client.Client) error {
		info, err := describeCluster(ctx, c)
		failed = errors.Join(failed, put("cluster/info", info, err))
		h, err := judge(ctx, c)
		if err == nil {
			failed = errors.Join(failed, put("cluster/health", h.answer(), nil))
		}
		topics, err := c.Topics(ctx)
		failed = errors.Join(failed, put("cluster/topics", answer{kind: "Topics", items: topics}, err))
		nodes, err := c.Nodes(ctx)
		if err != nil {
			return err //nolint:wrapcheck // says all
		}
		for i := range nodes {
			configs, err := c.BrokerConfigs(ctx, nodes[i].ID)
			for k := range configs {
				if configs[k].Sensitive {
					configs[k].Value = "***"
				}
			}
			failed = errors.Join(failed, put(fmt.Sprintf("node-%d/settings", nodes[i].ID), answer{kind: "Settings", items: configs}, err))
		}
		return nil
	})
	if err != nil {
		failed = errors.Join(failed, b.add("cluster/error.txt", []byte(err.Error()+"\n")))
	}
	return failed
}

// bundleBrokers adds what brokers answer by HTTP.
func bundleBrokers(ctx context.Context, b *bundle, addresses string, timeout time.Duration) error {
	var failed error
	for address := range strings.SplitSeq(addresses, ",") {
		address = strings.TrimSpace(address)
		for name, path := range bundleParts() {
			ctx, cancel := context.WithTimeout(ctx, timeout)
			text, err := fetchAll(ctx, "http://"+dialable(address)+path)
			cancel()
			if err != nil {
				name, text = name+".error.txt", []byte(err.Error()+"\n")
			}
			failed = errors.Join(failed, b.add("http-"+strings.ReplaceAll(address, ":", "-")+"/"+name, text))
		}
	}
	return failed
}
