package compat

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// callTimeout bounds one program or one client call.
const callTimeout = 40 * time.Second

// absent skips, or fails with CI=true.
func absent(t *testing.T, why string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal(why)
	}
	t.Skip(why)
}

// limit returns a context that ends with the test or after callTimeout.
func limit(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), callTimeout)
	t.Cleanup(cancel)
	return ctx
}

var topicCounter atomic.Int64

// topicName returns a name that no other test of this or an earlier run uses.
func topicName(base string) string {
	base = strings.Map(func(r rune) rune {
		if r == '/' || r == ' ' {
			return '-'
		}
		return r
	}, base)
	return fmt.Sprintf("%s.%d.%d", base, time.Now().UnixMilli(), topicCounter.Add(1))
}

// newTopic creates a topic and deletes it when the test ends.
func newTopic(t *testing.T, partitions int32, configs ...string) string {
	t.Helper()
	cl := admin(t)
	name := topicName(t.Name())
	if err := createTopic(limit(t), cl, name, partitions, configs...); err != nil {
		t.Fatalf("create topic %s: %v", name, err)
	}
	return name
}

// createTopic creates a topic with one replica; configs are key=value.
func createTopic(ctx context.Context, cl *kgo.Client, name string, partitions int32, configs ...string) error {
	return createTopicOf(ctx, cl, name, partitions, 1, configs...)
}

func createTopicOf(ctx context.Context, cl *kgo.Client, name string, partitions int32, replicas int16, configs ...string) error {
	topic := kmsg.NewCreateTopicsRequestTopic()
	topic.Topic, topic.NumPartitions, topic.ReplicationFactor = name, partitions, replicas
	for _, kv := range configs {
		k, v, _ := strings.Cut(kv, "=")
		c := kmsg.NewCreateTopicsRequestTopicConfig()
		c.Name, c.Value = k, new(v)
		topic.Configs = append(topic.Configs, c)
	}
	req := kmsg.NewPtrCreateTopicsRequest()
	req.TimeoutMillis = 10_000
	req.Topics = append(req.Topics, topic)
	resp, err := req.RequestWith(ctx, cl)
	if err != nil {
		return err
	}
	if len(resp.Topics) != 1 {
		return fmt.Errorf("%d topics in the answer", len(resp.Topics))
	}
	if err := kerr.ErrorForCode(resp.Topics[0].ErrorCode); err != nil {
		return err
	}
	return awaitTopic(ctx, cl, name, partitions)
}

// awaitTopic waits until every partition of the topic has a leader.
func awaitTopic(ctx context.Context, cl *kgo.Client, name string, partitions int32) error {
	for {
		req := kmsg.NewPtrMetadataRequest()
		topic := kmsg.NewMetadataRequestTopic()
		topic.Topic = new(name)
		req.Topics = append(req.Topics, topic)
		resp, err := req.RequestWith(ctx, cl)
		if err != nil {
			return err
		}
		ready := int32(0)
		for _, topic := range resp.Topics {
			for _, p := range topic.Partitions {
				if topic.ErrorCode == 0 && p.ErrorCode == 0 && p.Leader >= 0 {
					ready++
				}
			}
		}
		if ready == partitions {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("topic %s has %d of %d leaders: %w", name, ready, partitions, ctx.Err())
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// admin returns a franz-go client for requests.
func admin(t *testing.T, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	cl, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(theBroker.bootstrap), kgo.RetryTimeout(20 * time.Second)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return cl
}

// program runs a foreign program with the given input and returns its standard output. It fails the test if
// the program fails.
func program(t *testing.T, stdin io.Reader, name string, args ...string) []byte {
	t.Helper()
	out, errOut, err := try(t, stdin, name, args...)
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", filepath.Base(name), shortArgs(args), err, errOut)
	}
	return out
}

// try runs a foreign program and returns what it printed, and its error.
func try(t *testing.T, stdin io.Reader, name string, args ...string) (out, errOut []byte, err error) {
	t.Helper()
	ctx := limit(t)
	cmd := exec.CommandContext(ctx, name, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, &stdout, &stderr
	cmd.WaitDelay = time.Second
	err = cmd.Run()
	if ctx.Err() != nil {
		err = errors.Join(err, ctx.Err())
	}
	return stdout.Bytes(), stderr.Bytes(), err
}

func shortArgs(args []string) string {
	s := strings.Join(args, " ")
	return s[:min(len(s), 300)]
}

// cache returns the path of something that install.sh puts into the repository's cache directory.
func cache(elem ...string) string {
	repo, err := repository()
	if err != nil {
		return ""
	}
	return filepath.Join(append([]string{repo, ".cache"}, elem...)...)
}

// installHint is the answer to a missing client.
const installHint = "run tests/compat/install.sh"

// missingFile returns the missing function of a client that needs this file.
func missingFile(path string) func() string {
	return func() string {
		if _, err := os.Stat(path); err != nil {
			return installHint + " (" + path + " does not exist)"
		}
		return ""
	}
}

// poll waits until done reports true.
func poll(t *testing.T, what string, done func() bool) {
	t.Helper()
	ctx := limit(t)
	for !done() {
		select {
		case <-ctx.Done():
			t.Fatalf("waited %v for %s", callTimeout, what)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// quietly closes what was only read from, or whose failure the test has seen otherwise.
func quietly(c io.Closer) { _ = c.Close() }
