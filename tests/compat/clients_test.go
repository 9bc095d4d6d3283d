package compat

import (
	"fmt"
	"testing"
)

// client is a foreign client that can write, read, or both.
type client struct {
	name    string
	shape   shape
	missing func() string // "" if it is installed, else what to do
	codecs  []string      // what it can compress with; nil if it does not produce

	// produce writes the records to partition 0 of the topic with that codec, in order.
	produce func(t *testing.T, topic, codec string, recs []record)
	// consume reads partition 0 of every topic from its beginning, as many records as asked for.
	consume func(t *testing.T, topics []want) map[string][]record
	// normalize maps a record to what the client's consumer shows of it; nil: everything as it is.
	normalize func(record) record
}

// want names a topic and how many records are to be read from its partition 0.
type want struct {
	Topic string `json:"topic"`
	Count int    `json:"count"`
}

func clients() []client {
	return []client{
		franzClient(), saramaClient(false), saramaClient(true), kafkaGoClient(),
		kcatClient(), pythonClient("confluent-kafka"), pythonClient("kafka-python"),
		kafkajsClient(), javaClient(), steleClient(),
	}
}

// need skips the test if the client is not installed, or fails it where everything must be installed.
func need(t *testing.T, c client) {
	t.Helper()
	if c.missing == nil {
		return
	}
	if what := c.missing(); what != "" {
		absent(t, fmt.Sprintf("%s is not installed: %s", c.name, what))
	}
}

// alwaysThere is the missing function of clients that are Go modules.
func alwaysThere() string { return "" }
