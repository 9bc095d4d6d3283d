package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"time"

	"github.com/stelemq/stele/client"
	"github.com/stelemq/stele/internal/cli"
)

// assign finds the topics and their partitions.
func (o *options) assign(ctx context.Context, c *client.Client, stderr io.Writer) ([]client.Assignment, error) {
	wait, cancel := context.WithTimeout(ctx, o.connection.Timeout)
	defer cancel()
	slow := time.AfterFunc(time.Second, func() { _, _ = fmt.Fprintf(stderr, "contacting %s ...\n", o.connection.Brokers) })
	defer slow.Stop()
	topics, err := o.find(wait, c)
	if errors.Is(err, client.ErrUnknownTopic) && o.wait {
		slow.Stop()
		topics, err = o.await(ctx, c, stderr)
	}
	switch {
	case err == nil:
	case ctx.Err() != nil:
		return nil, cli.ErrInterrupted
	case errors.Is(err, context.DeadlineExceeded):
		return nil, fmt.Errorf("no answer from %s within %v. Is it a Kafka listener? Try a longer --timeout", o.connection.Brokers, o.connection.Timeout)
	default:
		return nil, err
	}
	var out []client.Assignment
	for i := range topics {
		t := &topics[i]
		for _, p := range o.partitions {
			if p >= len(t.Partitions) {
				return nil, fmt.Errorf("topic %q has no partition %d: it has %d, from 0", t.Name, p, len(t.Partitions))
			}
			out = append(out, client.Assignment{Topic: t.Name, Partition: int32(p), From: o.from, To: o.to}) //nolint:gosec // checked
		}
		if len(o.partitions) > 0 {
			continue
		}
		for _, p := range t.Partitions {
			out = append(out, client.Assignment{Topic: t.Name, Partition: p.ID, From: o.from, To: o.to})
		}
	}
	return out, nil
}

// find returns the topics that exist.
func (o *options) find(ctx context.Context, c *client.Client) ([]client.Topic, error) {
	if o.regex {
		return o.match(ctx, c)
	}
	var out []client.Topic
	seen := make(map[string]bool)
	for _, name := range o.topics {
		if seen[name] {
			continue
		}
		seen[name] = true
		t, err := c.Topic(ctx, name)
		if err != nil {
			return nil, err //nolint:wrapcheck // says it all
		}
		out = append(out, *t)
	}
	return out, nil
}

// match returns the topics whose whole name matches one of the expressions.
func (o *options) match(ctx context.Context, c *client.Client) ([]client.Topic, error) {
	var res []*regexp.Regexp
	for _, t := range o.topics {
		re, err := regexp.Compile("^(?:" + t + ")$")
		if err != nil {
			return nil, cli.Usagef("-t %s: %v", t, err)
		}
		res = append(res, re)
	}
	topics, err := c.Topics(ctx)
	if err != nil {
		return nil, err //nolint:wrapcheck // says it all
	}
	var out []client.Topic
	for i := range topics {
		for _, re := range res {
			if !topics[i].Internal && topics[i].Err == nil && re.MatchString(topics[i].Name) {
				out = append(out, topics[i])
				break
			}
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("no topic matches %v", o.topics)
	}
	return out, nil
}

// await waits for topics that do not exist yet.
func (o *options) await(ctx context.Context, c *client.Client, stderr io.Writer) ([]client.Topic, error) {
	for _, name := range o.topics {
		if _, err := c.Topic(ctx, name); err == nil || !errors.Is(err, client.ErrUnknownTopic) {
			continue
		}
		_, _ = fmt.Fprintf(stderr, "waiting for topic %q ...\n", name)
		if _, err := c.WaitTopic(ctx, name, false); err != nil {
			return nil, err //nolint:wrapcheck // says it all
		}
	}
	return o.find(ctx, c)
}
