package client_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/stelemq/stele/client"
	"github.com/stelemq/stele/protocol/record"
)

func ExampleClient_NewProducer() {
	ctx := context.Background()
	c, err := client.New(client.Options{Bootstrap: []string{"localhost:9092"}})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close() //nolint:errcheck // nothing to be done about it
	p, err := c.NewProducer(client.ProducerOptions{Codec: record.Zstd})
	if err != nil {
		fmt.Println(err)
		return
	}
	for i := range 1000 {
		r := &client.Record{Topic: "logs", Value: fmt.Appendf(nil, "line %d", i)}
		err := p.Produce(ctx, r, func(d client.Delivery) {
			if d.Err != nil {
				fmt.Println("lost:", d.Err)
			}
		})
		if err != nil {
			fmt.Println(err)
			break
		}
	}
	// Close sends what is left and waits until it is acknowledged.
	if err := p.Close(ctx); err != nil {
		fmt.Println(err)
	}
}

func ExampleProducer_ProduceSync() {
	send := func(ctx context.Context, p *client.Producer) error {
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		d, err := p.ProduceSync(ctx, &client.Record{Topic: "users", Key: []byte("u1"), Value: []byte(`{"name":"Ann"}`)})
		if err != nil {
			return err
		}
		fmt.Printf("partition %d offset %d\n", d.Partition, d.Offset)
		return nil
	}
	_ = send
}

func ExampleClient_NewConsumer() {
	ctx := context.Background()
	c, err := client.New(client.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close() //nolint:errcheck // nothing to be done about it
	topic, err := c.Topic(ctx, "logs")
	if err != nil {
		fmt.Println(err)
		return
	}
	end := client.End()
	var assign []client.Assignment
	for _, p := range topic.Partitions {
		assign = append(assign, client.Assignment{Topic: "logs", Partition: p.ID, From: client.BeforeEnd(100), To: &end})
	}
	k, err := c.NewConsumer(client.ConsumerOptions{Assign: assign})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer k.Close() //nolint:errcheck // nothing to be done about it
	for {
		records, err := k.Poll(ctx)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			fmt.Println(err)
			return
		}
		for _, r := range records {
			fmt.Printf("%d %d %s\n", r.Partition, r.Offset, r.Value)
		}
	}
}

func ExampleRetriable() {
	err := fmt.Errorf("list topics: %w", client.ErrTimeout)
	fmt.Println(client.Retriable(err))
	// Output: true
}
