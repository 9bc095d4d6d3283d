package load

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/stelemq/stele/client"
	"github.com/stelemq/stele/protocol"
)

// Target is the cluster that is measured.
type Target struct {
	// Brokers are addresses to begin with, host:port.
	Brokers []string
	// PIDs are the brokers' processes on this machine, if they are known: what they use is measured then.
	PIDs []int
	// Topic is the name of the topic that each run makes and deletes. It must not exist.
	Topic string
}

// topicTimeout bounds the making of a topic with many partitions, leaders included.
const topicTimeout = 2 * time.Minute

func (t *Target) connect(id string) (*client.Client, error) {
	c, err := client.New(client.Options{Bootstrap: t.Brokers, ClientID: id, RequestTimeout: topicTimeout})
	if err != nil {
		return nil, err //nolint:wrapcheck // says what is wrong with the address
	}
	return c, nil
}

// relaxed is a flush.messages that is never reached, Kafka's own default.
const relaxed = "9223372036854775807"

// makeTopic makes the scenario's topic and waits until every partition has a leader.
func (t *Target) makeTopic(ctx context.Context, c *client.Client, s *Scenario) error {
	ctx, cancel := context.WithTimeout(ctx, topicTimeout)
	defer cancel()
	flush := relaxed
	if s.Durable {
		flush = "1"
	}
	results, err := c.CreateTopics(ctx, []client.NewTopic{{
		Name: t.Topic, Partitions: s.Partitions, ReplicationFactor: s.Replicas,
		Configs: map[string]string{"flush.messages": flush, "file.delete.delay.ms": "0"},
	}}, false)
	if err != nil {
		return fmt.Errorf("make topic %s: %w", t.Topic, err)
	}
	for i := range results {
		if results[i].Err != nil {
			return fmt.Errorf("make topic %s: %w", t.Topic, results[i].Err)
		}
	}
	return t.awaitLeaders(ctx, c, s.Partitions)
}

func (t *Target) awaitLeaders(ctx context.Context, c *client.Client, partitions int) error {
	for {
		topics, err := c.Topics(ctx, t.Topic)
		led := 0
		if err == nil && len(topics) == 1 {
			for _, p := range topics[0].Partitions {
				if p.Leader >= 0 && p.Err == nil {
					led++
				}
			}
		}
		if led == partitions {
			// Metadata may name a leader before it knows of it: ask each of them.
			if _, err = c.Offsets(ctx, t.Topic, client.End()); err == nil {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("topic %s: %d of %d partitions have a leader: %w", t.Topic, led, partitions, errors.Join(err, ctx.Err()))
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// dropTopic deletes it; one that is not there is well.
func (t *Target) dropTopic(c *client.Client) error {
	ctx, cancel := context.WithTimeout(context.Background(), topicTimeout)
	defer cancel()
	results, err := c.DeleteTopics(ctx, t.Topic)
	for i := range results {
		err = errors.Join(err, results[i].Err)
	}
	var e *client.Error
	if errors.As(err, &e) && e.Code == protocol.UnknownTopicOrPartition {
		return nil
	}
	if err != nil {
		return fmt.Errorf("delete topic %s: %w", t.Topic, err)
	}
	return nil
}
