package client

import (
	"context"
	"testing"
	"time"

	"github.com/stelemq/stele/client/clienttest"
)

// dial returns a Client of a cluster in memory.
func dial(t *testing.T, f *clienttest.Cluster) *Client {
	t.Helper()
	c, err := New(Options{Bootstrap: []string{f.Addr()}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func producer(t *testing.T, c *Client, o ProducerOptions) *Producer {
	t.Helper()
	p, err := c.NewProducer(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_ = p.Close(ctx)
	})
	return p
}

// within bounds what a test waits for.
func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}
