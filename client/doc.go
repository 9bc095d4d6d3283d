// Package client is the library for programs that produce to and consume from
// Stele, or any other broker that speaks Kafka's protocol.
//
//	c, err := client.New(client.Options{Bootstrap: []string{"localhost:9092"}})
//	p, err := c.NewProducer(client.ProducerOptions{})
//	err = p.Produce(ctx, &client.Record{Topic: "logs", Value: line}, nil)
//	err = p.Flush(ctx)
//
// # What is in it
//
// Client finds the cluster from the bootstrap addresses, caches its metadata
// and asks again when a leader moves. It creates, deletes and describes topics
// and looks offsets up. Producer collects records into batches and sends them;
// Consumer reads the partitions that it is given.
//
// Batches of a Producer are idempotent unless the options say otherwise: each
// carries a producer id and a sequence number, a batch that is sent again
// carries the same, and a broker appends it once. Up to five batches of a
// partition are in flight; their order survives lost connections, lost answers
// and a change of leader.
//
// # Errors
//
// An error names what failed, why, and what to do about it, in one line. It is
// an *Error with Kafka's code where a broker answered one; Retriable tells
// whether trying again may help. What a Producer or Consumer can retry it
// retries itself.
//
// # Goroutines
//
// Client, Producer and Consumer own the goroutines they start; Close stops
// them and waits for them. A Client must be closed after what was made from
// it. All methods may be called concurrently unless their comment says
// otherwise.
//
// # Below it
//
// Requests and answers are kafka-go's messages in kafka-go's encoding (a batch
// goes through its raw produce request, so that its bytes are the ones that
// protocol/record built), and Client is a kafka-go RoundTripper: any call of a
// kafka.Client can be made over it. The connections are this package's own;
// the comment of type link says why.
//
// # What it does not do
//
// Consumer groups and transactions.
package client
