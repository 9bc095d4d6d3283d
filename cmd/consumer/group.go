package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/stelemq/stele/client"
)

// commitTimeout bounds the commit when the program ends.
const commitTimeout = 5 * time.Second

// consumeGroup prints what the group gives this member. What has been printed is committed every few seconds and at the end;
// where nothing is committed yet, -o says where to begin.
func consumeGroup(ctx context.Context, o *options, c *client.Client, stdout, stderr io.Writer) error {
	topics, err := o.find(ctx, c)
	if err != nil {
		return err
	}
	names := make([]string, 0, len(topics))
	for i := range topics {
		names = append(names, topics[i].Name)
	}
	say := func(what string) func(int32, []client.TopicPartition) {
		return func(generation int32, partitions []client.TopicPartition) {
			if len(partitions) > 0 || what == "assigned" {
				_, _ = fmt.Fprintf(stderr, "%s %s (generation %d)\n", what, partitionNames(partitions), generation)
			}
		}
	}
	g := client.GroupOptions{
		Group: o.group, Topics: names, From: o.from, Consumer: client.ConsumerOptions{RequestTimeout: o.connection.Timeout},
		OnAssigned: say("assigned"), OnRevoked: say("revoked"), OnLost: say("lost"),
	}
	if o.noCommit {
		g.AutoCommit = -1
	}
	k, err := c.NewGroupConsumer(g)
	if err != nil {
		return err //nolint:wrapcheck // says it all
	}
	p := newPrinter(o, k, stdout, stderr)
	err = p.run(ctx)
	if !o.noCommit {
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), commitTimeout)
		defer cancel()
		if cerr := k.CommitTo(last, p.next); cerr != nil {
			err = errors.Join(err, cerr)
		}
	}
	return errors.Join(err, k.Close())
}

// partitionNames is topic[0,2] topic2[1], in order; nothing is "nothing".
func partitionNames(partitions []client.TopicPartition) string {
	if len(partitions) == 0 {
		return "nothing"
	}
	var b strings.Builder
	last := ""
	for _, tp := range partitions {
		switch {
		case tp.Topic == last:
			b.WriteString(",")
		case last != "":
			b.WriteString("] " + tp.Topic + "[")
		default:
			b.WriteString(tp.Topic + "[")
		}
		last = tp.Topic
		b.WriteString(strconv.Itoa(int(tp.Partition)))
	}
	return b.String() + "]"
}
