package broker

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/stelemq/stele/broker/group"
	"github.com/stelemq/stele/broker/metadata"
	"github.com/stelemq/stele/protocol"
)

// FindCoordinator: v0-v6
//
// Behaviour: the leader of the partition of __consumer_offsets (of __transaction_state) that a key hashes to. The first
// request creates the topic and waits a moment for its leaders; while there is none, COORDINATOR_NOT_AVAILABLE.
//
// Version notes: v1 kinds of keys; v4 several keys; v6 share groups.
//
// Not implemented: share groups: INVALID_REQUEST.

// Kinds of coordinators.
const (
	coordinatorGroup       = 0
	coordinatorTransaction = 1
)

func (k *call) findCoordinator(req *kmsg.FindCoordinatorRequest) kmsg.Response {
	resp := kmsg.NewPtrFindCoordinatorResponse()
	keys := req.CoordinatorKeys
	if req.Version < 4 {
		keys = []string{req.CoordinatorKey}
	}
	kind := req.CoordinatorType
	if req.Version < 1 {
		kind = coordinatorGroup
	}
	for _, key := range keys {
		resp.Coordinators = append(resp.Coordinators, k.coordinator(kind, key))
	}
	if req.Version < 4 {
		c := &resp.Coordinators[0]
		resp.ErrorCode, resp.ErrorMessage, resp.NodeID, resp.Host, resp.Port = c.ErrorCode, c.ErrorMessage, c.NodeID, c.Host, c.Port
		resp.Coordinators = nil
	}
	return resp
}

func (k *call) coordinator(kind int8, key string) kmsg.FindCoordinatorResponseCoordinator {
	out := kmsg.NewFindCoordinatorResponseCoordinator()
	out.Key, out.NodeID, out.Port = key, -1, -1
	fail := func(code protocol.Code, text string) kmsg.FindCoordinatorResponseCoordinator {
		out.ErrorCode, out.ErrorMessage = k.code(code), &text
		return out
	}
	name, plan := offsetsTopic, k.b.opts.Config.OffsetsTopic
	switch kind {
	case coordinatorGroup:
	case coordinatorTransaction:
		name, plan = transactionsTopic, k.b.opts.Config.TransactionsTopic
	default:
		return fail(protocol.InvalidRequest, "Coordinators of type "+strconv.Itoa(int(kind))+" are not served.")
	}
	t, err := k.internalTopic(name, plan)
	if err != nil {
		return fail(protocol.CoordinatorNotAvailable, "The topic "+name+" could not be created: "+err.Error())
	}
	index := group.PartitionOf(key, len(t.Partitions))
	image := k.b.opts.Metadata.Image()
	l := k.b.leaderOf(t.Partitions[index].Shard, k.b.partitions.find(t.ID, index))
	e, _, ok := endpoint(image, l.Leader, k.conn.listener.Name)
	if !ok {
		return fail(protocol.CoordinatorNotAvailable, "The partition "+name+"-"+strconv.Itoa(int(index))+" has no leader.")
	}
	out.NodeID, out.Host, out.Port = l.Leader, e.Host, e.Port
	return out
}

// errNoTopic: a topic that has just been created is not there.
var errNoTopic = errors.New("it is not there")

// internalTopicTimeout bounds the creation of a coordinators' topic.
const internalTopicTimeout = 10 * time.Second

// internalTopic returns a topic of the coordinators, which is created if it is not there, and waits for its leaders.
func (k *call) internalTopic(name string, plan InternalTopic) (*metadata.Topic, error) {
	image := k.b.opts.Metadata.Image()
	t, ok := image.Topic(name)
	if !ok {
		if err := k.createInternal(image, name, plan); err != nil {
			return nil, err
		}
		if t, ok = k.b.opts.Metadata.Image().Topic(name); !ok {
			return nil, errNoTopic
		}
	}
	if k.b.partitions.leaderExpected(t) {
		k.b.partitions.awaitLeaders(k.ctx, []metadata.TopicID{t.ID}, k.b.opts.Config.LeaderWait)
	}
	return t, nil
}

func (k *call) createInternal(image *metadata.Image, name string, plan InternalTopic) error {
	factor := int(plan.ReplicationFactor)
	if factor <= 0 {
		factor = k.b.replicationFactor(image)
	}
	replicas, refused := metadata.Place(image, int(plan.Partitions), factor)
	if refused != nil {
		return refused
	}
	topic := metadata.NewTopic{Name: name, ID: newTopicID(), Replicas: replicas, Configs: map[string]string{
		"cleanup.policy": "compact", "segment.bytes": strconv.FormatInt(plan.SegmentBytes, 10),
	}}
	ctx, cancel := context.WithTimeout(k.ctx, internalTopicTimeout)
	defer cancel()
	result, err := k.b.propose(ctx, &metadata.CreateTopics{Topics: []metadata.NewTopic{topic}})
	if err != nil {
		return err
	}
	if e := result.Topics[0].Error; e != nil && e.Code != protocol.TopicAlreadyExists { // somebody else was faster
		return e
	}
	k.b.log.Info("topic created", "topic", name, "partitions", len(replicas), "replication_factor", len(replicas[0]))
	return nil
}
