package compat

import (
	"slices"
	"testing"
)

// perCodec is how many records each client writes with each codec.
const perCodec = 40

// TestMatrix_EveryClientReadsEveryClient lets each client write with each codec it has, all into one topic of
// its own, and each client read all of those topics.
func TestMatrix_EveryClientReadsEveryClient(t *testing.T) {
	written := map[string][]record{} // by topic
	writer := map[string]string{}
	var topics []want
	t.Run("write", func(t *testing.T) {
		for i, c := range clients() {
			if c.produce == nil {
				continue
			}
			topic := topicName("matrix-" + c.name)
			if err := createTopic(limit(t), admin(t), topic, 1); err != nil {
				t.Fatal(err)
			}
			t.Run(c.name, func(t *testing.T) {
				need(t, c)
				for j, codec := range c.codecs {
					recs := generate(c.shape, perCodec, uint64(100*i+j))
					c.produce(t, topic, codec, recs)
					written[topic] = append(written[topic], recs...)
					if t.Failed() {
						return
					}
				}
				writer[topic] = c.name
				topics = append(topics, want{topic, len(written[topic])})
			})
		}
	})
	t.Run("read", func(t *testing.T) {
		for _, c := range clients() {
			if c.consume == nil {
				continue
			}
			t.Run(c.name, func(t *testing.T) {
				t.Parallel()
				need(t, c)
				got := c.consume(t, topics)
				for _, w := range topics {
					t.Run(writer[w.Topic], func(t *testing.T) {
						mustEqual(t, readable(c, written[w.Topic]), got[w.Topic])
					})
				}
			})
		}
	})
}

// readable is what the client makes of records that its interface cannot tell apart.
func readable(c client, recs []record) []record {
	if c.normalize == nil {
		return recs
	}
	recs = slices.Clone(recs)
	for i := range recs {
		recs[i] = c.normalize(recs[i])
	}
	return recs
}
