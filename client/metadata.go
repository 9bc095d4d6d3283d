package client

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/segmentio/kafka-go/protocol/metadata"

	"github.com/stelemq/stele/protocol"
)

// Broker is a member of the cluster, under the address that it advertises.
type Broker struct {
	ID   int32
	Host string
	Port int32
	Rack string
}

// Addr returns host:port.
func (b Broker) Addr() string { return net.JoinHostPort(b.Host, strconv.Itoa(int(b.Port))) }

// Cluster is what is known of a cluster besides its topics.
type Cluster struct {
	ID           string
	ControllerID int32    // -1 if there is none
	Brokers      []Broker // ascending by id
}

// Topic is a topic's metadata.
type Topic struct {
	Name       string
	Internal   bool
	Partitions []Partition // ascending by id
	// Err is not nil if the broker could not describe the topic:
	// ErrUnknownTopic, for instance.
	Err error
}

// Partition is a partition's metadata.
type Partition struct {
	ID          int32
	Leader      int32 // broker id, -1 if there is none
	LeaderEpoch int32 // -1 if the broker does not say
	Replicas    []int32
	ISR         []int32
	Offline     []int32
	// Err is not nil if the partition cannot be used at present.
	Err error
}

// noLeader explains a partition without a leader. reached are the brokers that could be connected to; nil: nobody tried,
// and the broker's word counts.
func (p *Partition) noLeader(topic string, reached map[int32]bool) error {
	n, there := len(p.Replicas), 0
	for _, r := range p.Replicas {
		if !slices.Contains(p.Offline, r) && (reached == nil || reached[r]) {
			there++
		}
	}
	reason := fmt.Sprintf("%s-%d has no leader", topic, p.ID)
	if n > 0 {
		reason += fmt.Sprintf(": %d of %d replicas reachable, %d needed", there, n, n/2+1)
	}
	return &Error{Reason: reason, Code: protocol.LeaderNotAvailable, Err: ErrNoLeader}
}

// reachTimeout bounds the attempt to reach brokers of which nobody knows whether they are there.
const reachTimeout = time.Second

// reached tells which of some brokers can be connected to.
func (c *Client) reached(ctx context.Context, nodes []int32) map[int32]bool {
	ctx, cancel := context.WithTimeout(ctx, reachTimeout)
	defer cancel()
	c.mu.Lock()
	brokers := slices.Clone(c.cluster.Brokers)
	c.mu.Unlock()
	out := map[int32]bool{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for _, b := range brokers {
		if !slices.Contains(nodes, b.ID) {
			continue
		}
		wg.Go(func() {
			err := c.Reach(ctx, b)
			mu.Lock()
			defer mu.Unlock()
			out[b.ID] = err == nil
		})
	}
	wg.Wait()
	return out
}

// Cluster asks for the brokers and the controller.
func (c *Client) Cluster(ctx context.Context) (*Cluster, error) {
	if _, err := c.refresh(ctx, []string{}, false); err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	cluster := c.cluster
	cluster.Brokers = slices.Clone(cluster.Brokers)
	return &cluster, nil
}

// Topics asks for topics by name, or for all of them if no name is given. They
// come sorted by name; one that does not exist comes with Err set.
func (c *Client) Topics(ctx context.Context, names ...string) ([]Topic, error) {
	if len(names) == 0 {
		names = nil // all; an empty list would be none
	}
	return c.refresh(ctx, names, false)
}

// Topic asks for one topic. Its error is the topic's, with the name of a
// topic that may have been meant.
func (c *Client) Topic(ctx context.Context, name string) (*Topic, error) {
	topics, err := c.refresh(ctx, []string{name}, false)
	if err != nil {
		return nil, err
	}
	if len(topics) != 1 {
		return nil, c.unknownTopic(ctx, name)
	}
	if Code(topics[0].Err) == protocol.UnknownTopicOrPartition {
		return nil, c.unknownTopic(ctx, name)
	}
	return &topics[0], topics[0].Err
}

// WaitTopic waits until the topic exists and each of its partitions has a
// leader. create lets the broker create it, if it does so (the broker's
// auto.create.topics.enable).
//
// When the context ends first, the error tells what was missing.
func (c *Client) WaitTopic(ctx context.Context, name string, create bool) (*Topic, error) {
	wait := backoff{}
	var last error
	for {
		topics, err := c.refresh(ctx, []string{name}, create)
		switch {
		case err != nil && ctx.Err() != nil && last != nil:
			return nil, c.suggesting(ctx, name, last)
		case err != nil:
			return nil, err
		case len(topics) != 1:
			last = c.unknownTopic(ctx, name)
		default:
			if last = ready(&topics[0]); last == nil {
				return &topics[0], nil
			}
			if !Retriable(last) {
				return nil, last
			}
		}
		if wait.sleep(ctx) != nil {
			return nil, c.suggesting(ctx, name, last)
		}
	}
}

// suggesting adds the name of a topic that may have been meant to the error of one that does not exist, when the time to
// wait for it is over.
func (c *Client) suggesting(ctx context.Context, name string, err error) error {
	if Code(err) != protocol.UnknownTopicOrPartition {
		return err
	}
	return c.unknownTopic(context.WithoutCancel(ctx), name)
}

// ready returns why a topic cannot be used yet.
func ready(t *Topic) error {
	if t.Err != nil {
		return t.Err
	}
	for i := range t.Partitions {
		if p := &t.Partitions[i]; p.Leader < 0 {
			return p.noLeader(t.Name, nil)
		}
	}
	return nil
}

// topic returns a topic from the cache, or asks for it.
func (c *Client) topic(ctx context.Context, name string, create bool) (*Topic, error) {
	c.mu.Lock()
	t, ok := c.topics[name]
	c.mu.Unlock()
	if ok && time.Since(t.at) < c.opts.MetadataMaxAge {
		return &t.topic, nil
	}
	topics, err := c.refresh(ctx, []string{name}, create)
	if err != nil {
		return nil, err
	}
	if len(topics) != 1 {
		return nil, &Error{Op: topicOp(name), Reason: "the broker's answer does not name it", Err: ErrUnknownTopic}
	}
	return &topics[0], topics[0].Err
}

func topicOp(name string) string { return "topic " + strconv.Quote(name) }

// forget drops topics from the cache; the next use asks for them.
func (c *Client) forget(names ...string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, name := range names {
		delete(c.topics, name)
	}
}

// refresh asks a broker for metadata: nil names are all topics, none is the
// cluster alone. What comes goes into the cache.
func (c *Client) refresh(ctx context.Context, names []string, create bool) ([]Topic, error) {
	msg, err := c.askAny(ctx, &metadata.Request{TopicNames: names, AllowAutoTopicCreation: create})
	if err != nil {
		return nil, err
	}
	res := msg.(*metadata.Response) //nolint:errcheck,forcetypeassert // decoded as such
	cluster := Cluster{ID: res.ClusterID, ControllerID: res.ControllerID}
	for _, b := range res.Brokers {
		cluster.Brokers = append(cluster.Brokers, Broker{ID: b.NodeID, Host: b.Host, Port: b.Port, Rack: b.Rack})
	}
	slices.SortFunc(cluster.Brokers, func(a, b Broker) int { return cmp.Compare(a.ID, b.ID) })
	topics := make([]Topic, 0, len(res.Topics))
	for i := range res.Topics {
		topics = append(topics, topicOf(&res.Topics[i]))
	}
	slices.SortFunc(topics, func(a, b Topic) int { return cmp.Compare(a.Name, b.Name) })

	c.mu.Lock()
	defer c.mu.Unlock()
	c.cluster = cluster
	now := time.Now()
	for i := range topics {
		if topics[i].Err != nil {
			delete(c.topics, topics[i].Name)
			continue
		}
		c.topics[topics[i].Name] = cachedTopic{topics[i], now}
	}
	return topics, nil
}

func topicOf(t *metadata.ResponseTopic) Topic {
	topic := Topic{Name: t.Name, Internal: t.IsInternal}
	if err := codeError(topicOp(t.Name), t.ErrorCode, ""); err != nil {
		if Code(err) == protocol.UnknownTopicOrPartition {
			err = doesNotExist(t.Name, "")
		}
		topic.Err = err
	}
	for i := range t.Partitions {
		p := &t.Partitions[i]
		topic.Partitions = append(topic.Partitions, Partition{
			ID: p.PartitionIndex, Leader: p.LeaderID, LeaderEpoch: p.LeaderEpoch,
			Replicas: p.ReplicaNodes, ISR: p.IsrNodes, Offline: p.OfflineReplicas,
			Err: codeError(fmt.Sprintf("%s-%d", t.Name, p.PartitionIndex), p.ErrorCode, ""),
		})
	}
	slices.SortFunc(topic.Partitions, func(a, b Partition) int { return cmp.Compare(a.ID, b.ID) })
	return topic
}
