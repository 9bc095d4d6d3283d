package load

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/stelemq/stele/client"
)

// firstPoll is how often a broker that starts is tried.
const firstPoll = 2 * time.Millisecond

// First tries until a record of the topic is acknowledged, with a fresh client each time, and makes the topic, with one
// partition, if it is not there. It is how long a user waits for a broker that starts.
func First(ctx context.Context, t Target, durable bool) error {
	for {
		err := t.first(ctx, durable)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("no record was acknowledged: %w", errors.Join(err, context.Cause(ctx)))
		case <-time.After(firstPoll):
		}
	}
}

func (t *Target) first(ctx context.Context, durable bool) error {
	const patience = 500 * time.Millisecond // a broker that is not ready may let requests hang
	c, err := client.New(client.Options{Bootstrap: t.Brokers, DialTimeout: patience})
	if err != nil {
		return err //nolint:wrapcheck // says what is wrong with the address
	}
	defer c.Close() //nolint:errcheck // tried again
	attempt, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	topics, err := c.Topics(attempt, t.Topic)
	if err != nil {
		return err //nolint:wrapcheck // says operation and topic
	}
	if len(topics) != 1 || topics[0].Err != nil {
		s := Scenario{Partitions: 1, Replicas: 1, Durable: durable}
		if err := t.makeTopic(attempt, c, &s); err != nil {
			return err
		}
	}
	p, err := c.NewProducer(client.ProducerOptions{Linger: -1})
	if err != nil {
		return err //nolint:wrapcheck // says what is wrong
	}
	defer p.Close(attempt) //nolint:errcheck // tried again
	_, err = p.ProduceSync(attempt, &client.Record{Topic: t.Topic, Value: []byte("first")})
	return err //nolint:wrapcheck // says operation and topic
}

// Fill makes the scenario's topic, if it is not there, and writes at least so many bytes to it. It is for what must be there
// before a broker is stopped.
func Fill(ctx context.Context, t Target, s Scenario, bytes int64) error {
	s.Kind = RawProduce
	s, err := s.WithDefaults()
	if err != nil {
		return err
	}
	c, err := t.connect("bench-fill")
	if err != nil {
		return err
	}
	defer c.Close() //nolint:errcheck // nothing is pending
	topics, err := c.Topics(ctx, t.Topic)
	if err != nil {
		return err //nolint:wrapcheck // says operation and topic
	}
	if len(topics) != 1 || topics[0].Err != nil {
		if err := t.makeTopic(ctx, c, &s); err != nil {
			return err
		}
	}
	r := &session{t, s, NewMeter(nil), c}
	return r.fill(ctx, bytes)
}
