package client

import (
	"context"
	"net"

	"github.com/segmentio/kafka-go"
	kproto "github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/findcoordinator"
)

var _ kafka.RoundTripper = (*Client)(nil)

// RoundTrip sends a kafka-go message to the broker that it belongs to and
// returns the answer, so that a kafka.Client can make any of its calls over
// this Client's connections: kafka.Client{Transport: c}. The address is not
// used, the bootstrap addresses of the Options are.
func (c *Client) RoundTrip(ctx context.Context, _ net.Addr, req kafka.Request) (kafka.Response, error) {
	if s, ok := req.(kproto.Splitter); ok {
		return c.roundTripSplit(ctx, s)
	}
	return c.roundTripOne(ctx, req)
}

func (c *Client) roundTripSplit(ctx context.Context, s kproto.Splitter) (kafka.Response, error) {
	layout, err := c.layout(ctx)
	if err != nil {
		return nil, err
	}
	messages, merger, err := s.Split(layout)
	if err != nil {
		return nil, err //nolint:wrapcheck // kafka-go's own words
	}
	results := make([]any, len(messages))
	for i, m := range messages {
		res, err := c.roundTripOne(ctx, m)
		if err != nil {
			results[i] = err
		} else {
			results[i] = res
		}
	}
	return merger.Merge(messages, results) //nolint:wrapcheck // kafka-go's own words
}

func (c *Client) roundTripOne(ctx context.Context, req kafka.Request) (kafka.Response, error) {
	broker := int32(-1)
	switch m := req.(type) {
	case kproto.BrokerMessage:
		layout, err := c.layout(ctx)
		if err != nil {
			return nil, err
		}
		b, err := m.Broker(layout)
		if err != nil {
			return nil, err //nolint:wrapcheck // kafka-go's own words
		}
		if b.Host != "" { // not the zero Broker of an unknown controller
			broker = b.ID
		}
	case kproto.GroupMessage:
		id, err := c.coordinator(ctx, m.Group(), kafka.CoordinatorKeyTypeConsumer)
		if err != nil {
			return nil, err
		}
		broker = id
	case kproto.TransactionalMessage:
		if m.Transaction() == "" {
			break
		}
		id, err := c.coordinator(ctx, m.Transaction(), kafka.CoordinatorKeyTypeTransaction)
		if err != nil {
			return nil, err
		}
		broker = id
	}
	if broker < 0 {
		return c.askAny(ctx, req)
	}
	return c.askBroker(ctx, broker, req)
}

func (c *Client) coordinator(ctx context.Context, key string, kind kafka.CoordinatorKeyType) (int32, error) {
	msg, err := c.askAny(ctx, &findcoordinator.Request{Key: key, KeyType: int8(kind)}) //nolint:gosec // 0 or 1
	if err != nil {
		return 0, err
	}
	res := msg.(*findcoordinator.Response) //nolint:errcheck,forcetypeassert // decoded as such
	if err := codeError("find the coordinator of "+key, res.ErrorCode, res.ErrorMessage); err != nil {
		return 0, err
	}
	if _, _, err := c.brokerAddr(res.NodeID); err != nil {
		if _, err := c.Cluster(ctx); err != nil {
			return 0, err
		}
	}
	return res.NodeID, nil
}

// layout is the whole cluster in kafka-go's terms.
func (c *Client) layout(ctx context.Context) (kproto.Cluster, error) {
	topics, err := c.Topics(ctx)
	if err != nil {
		return kproto.Cluster{}, err
	}
	c.mu.Lock()
	cluster := c.cluster
	c.mu.Unlock()
	out := kproto.Cluster{
		ClusterID: cluster.ID, Controller: cluster.ControllerID,
		Brokers: make(map[int32]kproto.Broker, len(cluster.Brokers)),
		Topics:  make(map[string]kproto.Topic, len(topics)),
	}
	for _, b := range cluster.Brokers {
		out.Brokers[b.ID] = kproto.Broker{ID: b.ID, Host: b.Host, Port: b.Port, Rack: b.Rack}
	}
	for i := range topics {
		t := &topics[i]
		partitions := make(map[int32]kproto.Partition, len(t.Partitions))
		for j := range t.Partitions {
			p := &t.Partitions[j]
			partitions[p.ID] = kproto.Partition{ID: p.ID, Leader: p.Leader, Replicas: p.Replicas, ISR: p.ISR, Offline: p.Offline}
		}
		out.Topics[t.Name] = kproto.Topic{Name: t.Name, Error: int16(Code(t.Err)), Partitions: partitions}
	}
	return out, nil
}
