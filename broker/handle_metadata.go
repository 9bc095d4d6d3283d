package broker

import (
	"context"
	"math"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/stelemq/stele/broker/metadata"
	"github.com/stelemq/stele/protocol"
)

// Metadata: v0-v13
//
// Behaviour: brokers by the addresses of the listener that the client came in on; topics by name or id
// with their leaders. Named topics that do not exist are created if the client and the broker allow it,
// and the answer waits up to two seconds for their leaders, so that a first produce meets no
// LEADER_NOT_AVAILABLE. Topics that are being opened are waited for likewise.
//
// Version notes: v0 an empty list means all topics; from v1 null does and an empty list means none; v4
// auto-creation can be declined; v10 topic ids, look-up by id from v12; v13 an error of the whole answer
// (not used here).
//
// Not implemented: nothing is authorized, so authorized operations are all there are.

// awaitedTopics bounds the topics for whose leaders Metadata waits.
const awaitedTopics = 64

// awaitedPartitions is the largest cluster for whose start a Metadata for all topics waits.
const awaitedPartitions = 1000

// Operations as AclOperation's bits.
const (
	topicOperations   = 1<<3 | 1<<4 | 1<<5 | 1<<6 | 1<<7 | 1<<8 | 1<<10 | 1<<11
	clusterOperations = 1<<5 | 1<<7 | 1<<8 | 1<<9 | 1<<10 | 1<<11 | 1<<12
	noOperations      = math.MinInt32
)

func (k *call) metadata(req *kmsg.MetadataRequest) kmsg.Response {
	resp := kmsg.NewPtrMetadataResponse()
	if slices.ContainsFunc(req.Topics, func(t kmsg.MetadataRequestTopic) bool { return t.Topic == nil }) && req.Version < 12 {
		return k.refuseMetadata(req)
	}
	all := req.Topics == nil || req.Version == 0 && len(req.Topics) == 0
	if all {
		k.awaitStart()
	} else {
		k.prepareTopics(req)
	}
	image := k.b.opts.Metadata.Image()
	for _, br := range image.Brokers() {
		if e, ok := br.Endpoint(k.conn.listener.Name); ok && !br.Fenced {
			resp.Brokers = append(resp.Brokers, kmsg.MetadataResponseBroker{NodeID: br.Node, Host: e.Host, Port: e.Port, Rack: rackOf(br)})
		}
	}
	id := image.ClusterID()
	resp.ClusterID = &id
	resp.ControllerID = k.b.controllerID(image)
	if req.IncludeClusterAuthorizedOperations {
		resp.AuthorizedOperations = clusterOperations
	}
	operations := int32(noOperations)
	if req.IncludeTopicAuthorizedOperations {
		operations = topicOperations
	}
	if all {
		resp.Topics = make([]kmsg.MetadataResponseTopic, 0, image.TopicCount())
		for t := range image.Topics() {
			resp.Topics = append(resp.Topics, k.describeTopic(image, t, operations))
		}
		return resp
	}
	seen := make(map[string]bool, len(req.Topics))
	for i := range req.Topics {
		t := &req.Topics[i]
		if t.Topic != nil {
			if seen[*t.Topic] {
				continue
			}
			seen[*t.Topic] = true
		}
		resp.Topics = append(resp.Topics, k.findTopic(image, t, operations))
	}
	return resp
}

// refuseMetadata answers a request that asks for topics by id before v12 could.
func (k *call) refuseMetadata(req *kmsg.MetadataRequest) kmsg.Response {
	resp := kmsg.NewPtrMetadataResponse()
	resp.ControllerID = -1
	for i := range req.Topics {
		r := kmsg.NewMetadataResponseTopic()
		none := ""
		r.ErrorCode, r.Topic, r.TopicID = k.code(protocol.InvalidRequest), req.Topics[i].Topic, req.Topics[i].TopicID
		if r.Topic == nil {
			r.Topic = &none
		}
		resp.Topics = append(resp.Topics, r)
	}
	return resp
}

func (k *call) findTopic(image *metadata.Image, want *kmsg.MetadataRequestTopic, operations int32) kmsg.MetadataResponseTopic {
	var t *metadata.Topic
	code := protocol.None
	if want.Topic != nil {
		if t, code = k.b.topicNamed(image, *want.Topic); code != protocol.None && metadata.ValidateTopicName(*want.Topic) != nil {
			code = protocol.InvalidTopicException
		}
	} else {
		found, ok := image.TopicByID(want.TopicID)
		if !ok {
			code = protocol.UnknownTopicID
		}
		t = found
	}
	if code != protocol.None {
		r := kmsg.NewMetadataResponseTopic()
		r.ErrorCode = k.code(code)
		r.Topic, r.TopicID = want.Topic, want.TopicID
		r.AuthorizedOperations = operations
		if want.Topic == nil {
			r.AuthorizedOperations = noOperations // nobody may know what is not there
		}
		return r
	}
	return k.describeTopic(image, t, operations)
}

func (k *call) describeTopic(image *metadata.Image, t *metadata.Topic, operations int32) kmsg.MetadataResponseTopic {
	r := kmsg.NewMetadataResponseTopic()
	name := t.Name
	r.Topic, r.TopicID, r.IsInternal, r.AuthorizedOperations = &name, t.ID, metadata.InternalTopic(t.Name), operations
	local := k.b.partitions.topic(t.ID)
	r.Partitions = make([]kmsg.MetadataResponseTopicPartition, len(t.Partitions))
	for i := range t.Partitions {
		s := k.b.standing(image, local, t, int32(i)) //nolint:gosec // bounded by the metadata
		r.Partitions[i] = kmsg.MetadataResponseTopicPartition{
			ErrorCode: int16(s.code), Partition: int32(i), Leader: s.leader, LeaderEpoch: s.epoch, //nolint:gosec // bounded by the metadata
			Replicas: s.replicas, ISR: s.isr, OfflineReplicas: s.offline,
		}
	}
	return r
}

// partitionStanding is how a partition stands, as Metadata and DescribeTopicPartitions tell it.
type partitionStanding struct {
	code                   protocol.Code
	leader, epoch          int32
	replicas, isr, offline []int32
}

// standing says how a partition stands by the newest that is known here.
func (b *Broker) standing(image *metadata.Image, local *localTopic, t *metadata.Topic, index int32) partitionStanding {
	p := &t.Partitions[index]
	s := partitionStanding{replicas: p.Nodes()}
	var here *partition
	if local != nil {
		here = local.partition(index)
	}
	l := b.leaderOf(p.Shard, here)
	s.leader, s.epoch, s.isr = l.Leader, int32(l.Epoch), l.ISR
	alive := func(node int32) bool {
		br, ok := image.Broker(node)
		return ok && !br.Fenced
	}
	for _, node := range s.replicas {
		if !alive(node) {
			s.offline = append(s.offline, node)
		}
	}
	if s.isr == nil { // nobody has said who is in sync: as far as is known all are that live
		s.isr = slices.DeleteFunc(p.NodesIn(metadata.Voter), func(n int32) bool { return !alive(n) })
	}
	if !alive(l.Leader) {
		s.leader, s.code = -1, protocol.LeaderNotAvailable
	}
	return s
}

func rackOf(b *metadata.Broker) *string {
	if b.Rack == "" {
		return nil
	}
	return &b.Rack
}

// controllerID is the broker that admin requests should go to: any one takes them, so this one.
func (b *Broker) controllerID(image *metadata.Image) int32 {
	if br, ok := image.Broker(b.opts.NodeID); ok && !br.Fenced {
		return b.opts.NodeID
	}
	return -1
}

// awaitStart waits, shortly after the start, for the leaders of a cluster that is not too large to look at
// often: clients that ask for everything at once would take a partition without a leader for lost.
func (k *call) awaitStart() {
	image := k.b.opts.Metadata.Image()
	if image.PartitionCount() > awaitedPartitions {
		return
	}
	var expected []metadata.TopicID
	for t := range image.Topics() {
		if k.b.partitions.leaderExpected(t) {
			expected = append(expected, t.ID)
		}
	}
	if len(expected) > 0 {
		k.b.partitions.awaitLeaders(k.ctx, expected, k.b.opts.Config.LeaderWait)
	}
}

// prepareTopics creates what is missing and may be created, and waits for leaders that are on their way.
func (k *call) prepareTopics(req *kmsg.MetadataRequest) {
	image := k.b.opts.Metadata.Image()
	mayCreate := k.b.opts.Config.AutoCreateTopics && (req.AllowAutoTopicCreation || req.Version < 4)
	var missing []string
	var leaderless []metadata.TopicID
	for i := range req.Topics {
		want := &req.Topics[i]
		t, ok := image.TopicByID(want.TopicID)
		if want.Topic != nil {
			if t, ok = image.Topic(*want.Topic); !ok {
				missing = append(missing, *want.Topic)
			}
		}
		if ok && len(leaderless) < awaitedTopics && k.b.partitions.leaderExpected(t) {
			leaderless = append(leaderless, t.ID)
		}
	}
	if mayCreate && len(missing) > 0 {
		leaderless = append(leaderless, k.autoCreate(image, missing)...)
	}
	if len(leaderless) > 0 {
		k.b.partitions.awaitLeaders(k.ctx, leaderless, k.b.opts.Config.LeaderWait)
	}
}

func (k *call) autoCreate(image *metadata.Image, names []string) []metadata.TopicID {
	var command metadata.CreateTopics
	partitions := int(k.b.opts.Config.NumPartitions)
	for _, name := range names {
		if metadata.ValidateTopicName(name) != nil || image.Collides(name) || metadata.InternalTopic(name) {
			continue
		}
		replicas, refused := metadata.Place(image, partitions, k.b.replicationFactor(image))
		if refused != nil {
			k.b.log.Warn("topic cannot be created on first use", "topic", name, "error", refused.Message)
			continue
		}
		command.Topics = append(command.Topics, metadata.NewTopic{Name: name, ID: newTopicID(), Replicas: replicas})
	}
	if len(command.Topics) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(k.ctx, 5*time.Second)
	defer cancel()
	if _, err := k.b.propose(ctx, &command); err != nil {
		k.b.log.Warn("topics could not be created on first use", "error", err)
	}
	// Somebody else may have created them at the same moment, under other ids.
	var ids []metadata.TopicID
	image = k.b.opts.Metadata.Image()
	for i := range command.Topics {
		if t, ok := image.Topic(command.Topics[i].Name); ok {
			ids = append(ids, t.ID)
		}
	}
	return ids
}
