package client

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	kproto "github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/createpartitions"
	"github.com/segmentio/kafka-go/protocol/createtopics"
	"github.com/segmentio/kafka-go/protocol/deletetopics"
	"github.com/segmentio/kafka-go/protocol/describeconfigs"

	"github.com/stelemq/stele/protocol"
)

// NewTopic is a topic to be created.
type NewTopic struct {
	Name              string
	Partitions        int               // 0: the broker's default
	ReplicationFactor int               // 0: the broker's default
	Configs           map[string]string // by Kafka's names
}

// TopicResult is what became of one topic of a request.
type TopicResult struct {
	Name string
	// Partitions, ReplicationFactor and Configs are what a created topic got,
	// if the broker tells: 0 and nil otherwise.
	Partitions        int
	ReplicationFactor int
	Configs           []Config
	Err               error
}

// Config is a setting of a topic or broker.
type Config struct {
	Name      string
	Value     string
	Source    ConfigSource
	ReadOnly  bool
	Sensitive bool // Value is not told
}

// ConfigSource is where the value of a setting comes from.
type ConfigSource int8

// The sources of DescribeConfigsResponse.json.
const (
	SourceUnknown               ConfigSource = 0
	SourceTopic                 ConfigSource = 1
	SourceDynamicBroker         ConfigSource = 2
	SourceDynamicBrokersDefault ConfigSource = 3
	SourceStaticBroker          ConfigSource = 4
	SourceDefault               ConfigSource = 5
)

// String returns the word that tables show: TOPIC, BROKER, DEFAULT or UNKNOWN.
func (s ConfigSource) String() string {
	switch s {
	case SourceTopic:
		return "TOPIC"
	case SourceDynamicBroker, SourceDynamicBrokersDefault, SourceStaticBroker:
		return "BROKER"
	case SourceDefault:
		return "DEFAULT"
	case SourceUnknown:
	}
	return "UNKNOWN"
}

// CreateTopics creates topics; each result has its own error. With
// validateOnly the broker only says what would happen.
func (c *Client) CreateTopics(ctx context.Context, topics []NewTopic, validateOnly bool) ([]TopicResult, error) {
	req := &createtopics.Request{TimeoutMs: c.timeoutMillis(), ValidateOnly: validateOnly}
	for i := range topics {
		t := &topics[i]
		rt := createtopics.RequestTopic{Name: t.Name, NumPartitions: -1, ReplicationFactor: -1}
		if t.Partitions != 0 {
			rt.NumPartitions = int32(t.Partitions) //nolint:gosec // the broker checks
		}
		if t.ReplicationFactor != 0 {
			rt.ReplicationFactor = int16(t.ReplicationFactor) //nolint:gosec // the broker checks
		}
		for name, value := range t.Configs {
			rt.Configs = append(rt.Configs, createtopics.RequestConfig{Name: name, Value: value})
		}
		req.Topics = append(req.Topics, rt)
	}
	msg, err := c.askController(ctx, req, func(m kproto.Message) bool {
		res := m.(*createtopics.Response) //nolint:errcheck,forcetypeassert // decoded as such
		return len(res.Topics) > 0 && protocol.Code(res.Topics[0].ErrorCode) == protocol.NotController
	})
	if err != nil {
		return nil, err
	}
	res := msg.(*createtopics.Response) //nolint:errcheck,forcetypeassert // decoded as such
	out := make([]TopicResult, 0, len(res.Topics))
	for i := range res.Topics {
		t := &res.Topics[i]
		r := TopicResult{
			Name: t.Name, Partitions: max(0, int(t.NumPartitions)), ReplicationFactor: max(0, int(t.ReplicationFactor)),
			Err: codeError("create "+topicOp(t.Name), t.ErrorCode, t.ErrorMessage),
		}
		for _, k := range t.Configs {
			r.Configs = append(r.Configs, Config{k.Name, k.Value, ConfigSource(k.ConfigSource), k.ReadOnly, k.IsSensitive})
		}
		c.forget(t.Name)
		out = append(out, r)
	}
	return out, nil
}

// DeleteTopics deletes topics and everything in them; each result has its own
// error.
func (c *Client) DeleteTopics(ctx context.Context, names ...string) ([]TopicResult, error) {
	req := &deletetopics.Request{TopicNames: names, TimeoutMs: c.timeoutMillis()}
	msg, err := c.askController(ctx, req, func(m kproto.Message) bool {
		res := m.(*deletetopics.Response) //nolint:errcheck,forcetypeassert // decoded as such
		return len(res.Responses) > 0 && protocol.Code(res.Responses[0].ErrorCode) == protocol.NotController
	})
	if err != nil {
		return nil, err
	}
	res := msg.(*deletetopics.Response) //nolint:errcheck,forcetypeassert // decoded as such
	out := make([]TopicResult, 0, len(res.Responses))
	for _, t := range res.Responses {
		err := codeError("delete "+topicOp(t.Name), t.ErrorCode, "")
		if Code(err) == protocol.UnknownTopicOrPartition {
			err = c.unknownTopic(ctx, t.Name)
		}
		out = append(out, TopicResult{Name: t.Name, Err: err})
		c.forget(t.Name)
	}
	return out, nil
}

// CreatePartitions raises the number of partitions of a topic to total.
func (c *Client) CreatePartitions(ctx context.Context, topic string, total int) error {
	req := &createpartitions.Request{
		Topics:    []createpartitions.RequestTopic{{Name: topic, Count: int32(total)}}, //nolint:gosec // the broker checks
		TimeoutMs: c.timeoutMillis(),
	}
	msg, err := c.askController(ctx, req, func(m kproto.Message) bool {
		res := m.(*createpartitions.Response) //nolint:errcheck,forcetypeassert // decoded as such
		return len(res.Results) > 0 && protocol.Code(res.Results[0].ErrorCode) == protocol.NotController
	})
	if err != nil {
		return err
	}
	c.forget(topic)
	res := msg.(*createpartitions.Response) //nolint:errcheck,forcetypeassert // decoded as such
	for _, r := range res.Results {
		err := codeError("add partitions to "+topicOp(topic), r.ErrorCode, r.ErrorMessage)
		if Code(err) == protocol.UnknownTopicOrPartition {
			err = c.unknownTopic(ctx, topic)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Resource types of DescribeConfigsRequest.json.
const (
	resourceTopic  int8 = 2
	resourceBroker int8 = 4
)

// TopicConfigs returns the settings of a topic, sorted by name.
func (c *Client) TopicConfigs(ctx context.Context, topic string) ([]Config, error) {
	if _, err := c.topic(ctx, topic, false); err != nil {
		if Code(err) == protocol.UnknownTopicOrPartition {
			return nil, c.unknownTopic(ctx, topic)
		}
		return nil, err
	}
	return c.describeConfigs(ctx, resourceTopic, topic, func(m kproto.Message) (kproto.Message, error) { return c.askAny(ctx, m) })
}

// BrokerConfigs returns the settings of a broker, sorted by name.
func (c *Client) BrokerConfigs(ctx context.Context, id int32) ([]Config, error) {
	if _, _, err := c.brokerAddr(id); err != nil {
		if _, err := c.Cluster(ctx); err != nil {
			return nil, err
		}
	}
	return c.describeConfigs(ctx, resourceBroker, fmt.Sprint(id), func(m kproto.Message) (kproto.Message, error) { return c.askBroker(ctx, id, m) })
}

// ClusterConfigs returns the settings that were changed at run time for all brokers, sorted by name.
func (c *Client) ClusterConfigs(ctx context.Context) ([]Config, error) {
	return c.describeConfigs(ctx, resourceBroker, "", func(m kproto.Message) (kproto.Message, error) { return c.askAny(ctx, m) })
}

func (c *Client) describeConfigs(
	_ context.Context, kind int8, name string, ask func(kproto.Message) (kproto.Message, error),
) ([]Config, error) {
	msg, err := ask(&describeconfigs.Request{
		Resources: []describeconfigs.RequestResource{{ResourceType: kind, ResourceName: name}},
	})
	if err != nil {
		return nil, err
	}
	var out []Config
	res := msg.(*describeconfigs.Response) //nolint:errcheck,forcetypeassert // decoded as such
	for i := range res.Resources {
		r := &res.Resources[i]
		if err := codeError("describe the configuration of "+name, r.ErrorCode, r.ErrorMessage); err != nil {
			return nil, err
		}
		for j := range r.ConfigEntries {
			e := &r.ConfigEntries[j]
			source := ConfigSource(e.ConfigSource)
			if e.IsDefault { // v0, which has no source
				source = SourceDefault
			}
			out = append(out, Config{e.ConfigName, e.ConfigValue, source, e.ReadOnly, e.IsSensitive})
		}
	}
	slices.SortFunc(out, func(a, b Config) int { return cmp.Compare(a.Name, b.Name) })
	return out, nil
}

// askController sends a message to the controller, and to the new one if it
// has moved.
func (c *Client) askController(ctx context.Context, msg kproto.Message, moved func(kproto.Message) bool) (kproto.Message, error) {
	wait := backoff{}
	for {
		cluster, err := c.Cluster(ctx)
		if err != nil {
			return nil, err
		}
		var res kproto.Message
		if cluster.ControllerID >= 0 {
			res, err = c.askBroker(ctx, cluster.ControllerID, msg)
		} else {
			res, err = c.askAny(ctx, msg)
		}
		if err != nil || !moved(res) {
			return res, err
		}
		if err := wait.sleep(ctx); err != nil {
			return res, nil //nolint:nilerr // the answer says that there is no controller
		}
	}
}

func (c *Client) timeoutMillis() int32 { return int32(c.opts.RequestTimeout.Milliseconds()) } //nolint:gosec // far below
