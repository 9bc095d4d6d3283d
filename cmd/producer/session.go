package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/stelemq/stele/client"
	"github.com/stelemq/stele/internal/cli"
)

// flushTimeout is how long what is in flight may take when the program is
// interrupted.
const flushTimeout = 5 * time.Second

// errorsShown is how many different errors are printed.
const errorsShown = 5

// session is one run: what is read and what became of it.
type session struct {
	o      *options
	stdin  io.Reader
	stderr io.Writer
	began  time.Time

	mu sync.Mutex
	// mu guards:
	taken  int64 // records given to the Producer
	read   int64 // bytes of them
	acked  int64
	bytes  int64 // acknowledged
	failed int64
	shown  map[string]bool // errors that were printed
	topics map[string]struct{}
}

func newSession(o *options, stdin io.Reader, stderr io.Writer) *session {
	return &session{
		o: o, stdin: stdin, stderr: stderr, began: time.Now(),
		shown: make(map[string]bool), topics: make(map[string]struct{}),
	}
}

func (s *session) say(format string, args ...any) {
	_, _ = fmt.Fprintf(s.stderr, format, args...)
}

// contact finds out whether the cluster and the topic can be written to,
// before any input is read.
func (s *session) contact(ctx context.Context, c *client.Client) error {
	wait, cancel := context.WithTimeout(ctx, s.o.connection.Timeout)
	defer cancel()
	slow := time.AfterFunc(time.Second, func() { s.say("contacting %s ...\n", s.o.connection.Brokers) })
	defer slow.Stop()
	var err error
	if s.o.topic == "" {
		_, err = c.Cluster(wait)
	} else {
		_, err = c.WaitTopic(wait, s.o.topic, true)
	}
	if errors.Is(err, client.ErrNoLeader) && s.o.partition < 0 && s.someLeader(ctx, c) {
		s.say("%v; writing to the others\n", err)
		return nil
	}
	return s.contactError(ctx, err)
}

// someLeader tells whether a partition of the topic has a leader.
func (s *session) someLeader(ctx context.Context, c *client.Client) bool {
	ctx, cancel := context.WithTimeout(ctx, s.o.connection.Timeout)
	defer cancel()
	t, err := c.Topic(ctx, s.o.topic)
	return err == nil && slices.ContainsFunc(t.Partitions, func(p client.Partition) bool { return p.Leader >= 0 })
}

func (s *session) contactError(ctx context.Context, err error) error {
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return cli.ErrInterrupted
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("no answer from %s within %v. Is it a Kafka listener? Try a longer --timeout", s.o.connection.Brokers, s.o.connection.Timeout)
	default:
		return err
	}
}

// run feeds the Producer until the input ends, and sums up.
func (s *session) run(ctx context.Context, p *client.Producer) error {
	s.began = time.Now()
	stopProgress := s.startProgress()
	fed := make(chan error, 1)
	go func() { fed <- s.feed(ctx, p) }()
	var err error
	select {
	case err = <-fed:
	case <-ctx.Done(): // the goroutine may be stuck in a read of the input
	}
	flush := ctx
	interrupted := ctx.Err() != nil
	if !interrupted {
		_ = p.Flush(ctx) // its error is the context's, which is looked at
		interrupted = ctx.Err() != nil
	}
	if interrupted {
		var cancel context.CancelFunc
		flush, cancel = context.WithTimeout(context.WithoutCancel(ctx), flushTimeout)
		defer cancel()
	}
	_ = p.Close(flush)
	stopProgress()
	return s.sumUp(err, interrupted)
}

// onBatch counts what was acknowledged and prints errors, each kind once.
func (s *session) onBatch(d client.BatchDelivery) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.topics[d.Topic] = struct{}{}
	if d.Err == nil {
		s.acked += int64(d.Records)
		s.bytes += int64(d.Bytes)
		return
	}
	s.failed += int64(d.Records)
	if errors.Is(d.Err, client.ErrClosed) { // given up on exit; the summary counts it
		return
	}
	if text := d.Err.Error(); !s.shown[text] && len(s.shown) < errorsShown {
		s.shown[text] = true
		s.say("%s\n", text)
	}
}

// sumUp prints the summary and returns how the program ends.
func (s *session) sumUp(err error, interrupted bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	prefix := ""
	if interrupted {
		prefix = "interrupted: "
	}
	lost := max(s.failed, s.taken-s.acked)
	s.say("%sproduced %s to %s (%s) in %s, %s\n", prefix, cli.Plural(s.acked, "record"), s.target(), cli.Bytes(s.bytes),
		cli.Elapsed(time.Since(s.began)), plainPlural(lost, "error"))
	switch {
	case interrupted:
		return cli.ErrInterrupted
	case err != nil:
		return err
	case lost > 0:
		return fmt.Errorf("%s not acknowledged", cli.Plural(lost, "record"))
	}
	return nil
}

func plainPlural(n int64, noun string) string {
	if n == 0 {
		return "0 " + noun + "s"
	}
	return cli.Plural(n, noun)
}

// target names where records went.
func (s *session) target() string {
	switch {
	case len(s.topics) == 1:
		for t := range s.topics {
			return t
		}
	case len(s.topics) > 1:
		return cli.Plural(int64(len(s.topics)), "topic")
	}
	return s.o.topic
}
