package client

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/stelemq/stele/protocol"
)

// Node is a broker of a cluster, alive or not.
type Node struct {
	Broker
	// Fenced: the cluster takes it for dead, or has not heard it yet.
	Fenced bool
}

// Nodes asks for all brokers, those that do not answer the cluster included where it tells.
func (c *Client) Nodes(ctx context.Context) ([]Node, error) {
	req := kmsg.NewPtrDescribeClusterRequest()
	req.EndpointType, req.IncludeFencedBrokers = 1, true
	resp, err := c.Request(ctx, AnyBroker, req)
	if errors.Is(err, ErrUnsupported) {
		return c.liveNodes(ctx)
	}
	if err != nil {
		return nil, err
	}
	res := resp.(*kmsg.DescribeClusterResponse) //nolint:errcheck,forcetypeassert // decoded as such
	if err := codeError("ask for the brokers", res.ErrorCode, deref(res.ErrorMessage)); err != nil {
		return nil, err
	}
	nodes := make([]Node, 0, len(res.Brokers))
	for _, b := range res.Brokers {
		nodes = append(nodes, Node{Broker{ID: b.NodeID, Host: b.Host, Port: b.Port, Rack: deref(b.Rack)}, b.IsFenced})
	}
	slices.SortFunc(nodes, func(a, b Node) int { return int(a.ID) - int(b.ID) })
	return nodes, nil
}

func (c *Client) liveNodes(ctx context.Context) ([]Node, error) {
	cluster, err := c.Cluster(ctx)
	if err != nil {
		return nil, err
	}
	nodes := make([]Node, 0, len(cluster.Brokers))
	for _, b := range cluster.Brokers {
		nodes = append(nodes, Node{Broker: b})
	}
	return nodes, nil
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// Reach connects to a broker at its advertised address. Errors: ErrUnreachable.
func (c *Client) Reach(ctx context.Context, b Broker) error {
	l, err := dialLink(ctx, &c.opts, b.Addr())
	if err != nil {
		return unreachable(b.Addr(), err)
	}
	l.close(ErrClosed)
	return nil
}

// ConfigChange sets a setting, or with a nil value goes back to the default.
type ConfigChange struct {
	Name  string
	Value *string
}

// AlterTopicConfigs changes settings of a topic, all or none.
func (c *Client) AlterTopicConfigs(ctx context.Context, topic string, changes []ConfigChange, validateOnly bool) error {
	if err := c.alterConfigs(ctx, kmsg.ConfigResourceTypeTopic, topic, "alter "+topicOp(topic), changes, validateOnly); err != nil {
		return err
	}
	c.forget(topic)
	return nil
}

// AlterBrokerConfigs changes dynamic settings of a broker, all or none; of all brokers where node is negative.
func (c *Client) AlterBrokerConfigs(ctx context.Context, node int32, changes []ConfigChange, validateOnly bool) error {
	name, op := "", "change settings of the cluster"
	if node >= 0 {
		name = strconv.Itoa(int(node))
		op = "change settings of node " + name
	}
	return c.alterConfigs(ctx, kmsg.ConfigResourceTypeBroker, name, op, changes, validateOnly)
}

func (c *Client) alterConfigs(ctx context.Context, kind kmsg.ConfigResourceType, name, op string, changes []ConfigChange, validateOnly bool) error {
	const set, remove = 0, 1
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	req.ValidateOnly = validateOnly
	r := kmsg.NewIncrementalAlterConfigsRequestResource()
	r.ResourceType, r.ResourceName = kind, name
	for _, ch := range changes {
		k := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
		k.Name, k.Op, k.Value = ch.Name, set, ch.Value
		if ch.Value == nil {
			k.Op = remove
		}
		r.Configs = append(r.Configs, k)
	}
	req.Resources = append(req.Resources, r)
	resp, err := c.Request(ctx, AnyBroker, req)
	if err != nil {
		return err
	}
	for _, r := range resp.(*kmsg.IncrementalAlterConfigsResponse).Resources { //nolint:errcheck,forcetypeassert // decoded as such
		if err := codeError(op, r.ErrorCode, deref(r.ErrorMessage)); err != nil {
			return err
		}
	}
	return nil
}

// Reassignment is a wish for a partition's replicas.
type Reassignment struct {
	Topic     string
	Partition int32
	// Replicas are nodes, the preferred leader first; nil cancels a reassignment in progress.
	Replicas []int32
}

// Reassign starts to move replicas; it does not wait for the end (Reassigning tells).
func (c *Client) Reassign(ctx context.Context, moves []Reassignment) error {
	req := kmsg.NewPtrAlterPartitionAssignmentsRequest()
	req.TimeoutMillis = c.timeoutMillis()
	topics := map[string]int{}
	for _, m := range moves {
		i, ok := topics[m.Topic]
		if !ok {
			i = len(req.Topics)
			topics[m.Topic] = i
			t := kmsg.NewAlterPartitionAssignmentsRequestTopic()
			t.Topic = m.Topic
			req.Topics = append(req.Topics, t)
		}
		p := kmsg.NewAlterPartitionAssignmentsRequestTopicPartition()
		p.Partition, p.Replicas = m.Partition, m.Replicas
		req.Topics[i].Partitions = append(req.Topics[i].Partitions, p)
	}
	resp, err := c.Request(ctx, Controller, req)
	if err != nil {
		return err
	}
	res := resp.(*kmsg.AlterPartitionAssignmentsResponse) //nolint:errcheck,forcetypeassert // decoded as such
	if err := codeError("move replicas", res.ErrorCode, deref(res.ErrorMessage)); err != nil {
		return err
	}
	var failed []error
	for _, t := range res.Topics {
		for _, p := range t.Partitions {
			failed = append(failed, codeError(fmt.Sprintf("move replicas of %s-%d", t.Topic, p.Partition), p.ErrorCode, deref(p.ErrorMessage)))
		}
		c.forget(t.Topic)
	}
	return errors.Join(failed...)
}

// Moving is a partition whose replicas are being moved.
type Moving struct {
	Topic                      string
	Partition                  int32
	Replicas, Adding, Removing []int32
}

// Reassigning asks for the partitions whose replicas are being moved.
func (c *Client) Reassigning(ctx context.Context) ([]Moving, error) {
	req := kmsg.NewPtrListPartitionReassignmentsRequest()
	req.TimeoutMillis = c.timeoutMillis()
	resp, err := c.Request(ctx, Controller, req)
	if err != nil {
		return nil, err
	}
	res := resp.(*kmsg.ListPartitionReassignmentsResponse) //nolint:errcheck,forcetypeassert // decoded as such
	if err := codeError("ask for moving replicas", res.ErrorCode, deref(res.ErrorMessage)); err != nil {
		return nil, err
	}
	var out []Moving
	for _, t := range res.Topics {
		for _, p := range t.Partitions {
			out = append(out, Moving{t.Topic, p.Partition, p.Replicas, p.AddingReplicas, p.RemovingReplicas})
		}
	}
	return out, nil
}

// ElectLeader asks for an election: of the preferred leader, or, unclean, of one of the survivors of a partition that has
// lost its majority; then what only the others had is lost.
func (c *Client) ElectLeader(ctx context.Context, topic string, partition int32, unclean bool) error {
	req := kmsg.NewPtrElectLeadersRequest()
	if unclean {
		req.ElectionType = 1
	}
	req.TimeoutMillis = c.timeoutMillis()
	t := kmsg.NewElectLeadersRequestTopic()
	t.Topic, t.Partitions = topic, []int32{partition}
	req.Topics = []kmsg.ElectLeadersRequestTopic{t}
	resp, err := c.Request(ctx, Controller, req)
	if err != nil {
		return err
	}
	res := resp.(*kmsg.ElectLeadersResponse) //nolint:errcheck,forcetypeassert // decoded as such
	op := fmt.Sprintf("elect a leader of %s-%d", topic, partition)
	if err := codeError(op, res.ErrorCode, ""); err != nil {
		return err
	}
	for _, t := range res.Topics {
		for _, p := range t.Partitions {
			if protocol.Code(p.ErrorCode) == protocol.ElectionNotNeeded {
				continue
			}
			if err := codeError(op, p.ErrorCode, deref(p.ErrorMessage)); err != nil {
				return err
			}
		}
	}
	c.forget(topic)
	return nil
}
