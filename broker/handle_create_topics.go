package broker

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/stelemq/stele/broker/metadata"
	"github.com/stelemq/stele/broker/topicconfig"
	"github.com/stelemq/stele/protocol"
)

// CreateTopics: v0-v7
//
// Behaviour: each topic is checked for itself, in the order in which Kafka's controller does; those that
// pass are created by one command. The answer waits, within the request's timeout and two seconds, until
// the new partitions have leaders.
//
// Version notes: v1 validate only; v4 -1 for the defaults of partitions and replication factor; v5
// answers the settings that hold; v7 topic ids.

// clusterMetadataTopic is a name that Kafka keeps for its own metadata.
const clusterMetadataTopic = "__cluster_metadata"

func (k *call) createTopics(req *kmsg.CreateTopicsRequest) kmsg.Response {
	resp := kmsg.NewPtrCreateTopicsResponse()
	image := k.b.opts.Metadata.Image()
	var command metadata.CreateTopics
	var places []int // of command's topics in resp
	mutations := k.mutations(6)
	defer mutations.tell(resp)
	total := 0
	for i, rt := range req.Topics {
		out := kmsg.NewCreateTopicsResponseTopic()
		out.Topic = rt.Topic
		out.NumPartitions, out.ReplicationFactor = -1, -1
		if slices.ContainsFunc(req.Topics[:i], func(o kmsg.CreateTopicsRequestTopic) bool { return o.Topic == rt.Topic }) {
			continue // answered once
		}
		if slices.ContainsFunc(req.Topics[i+1:], func(o kmsg.CreateTopicsRequestTopic) bool { return o.Topic == rt.Topic }) {
			k.refuseTopic(&out, &metadata.Error{Code: protocol.InvalidRequest, Message: "Duplicate topic name."})
			resp.Topics = append(resp.Topics, out)
			continue
		}
		topic, refused := k.planTopic(image, &rt)
		if refused == nil {
			refused = mutations.take(len(topic.Replicas))
		}
		if refused == nil {
			if total += len(topic.Replicas); total > k.b.opts.Config.MaxPartitionsPerRequest {
				refused = &metadata.Error{Code: protocol.PolicyViolation, Message: "Excessively large number of partitions per request."}
			}
		}
		if refused != nil {
			k.refuseTopic(&out, refused)
		} else {
			k.fillTopic(image, &out, topic)
			command.Topics = append(command.Topics, *topic)
			places = append(places, len(resp.Topics))
		}
		resp.Topics = append(resp.Topics, out)
	}
	if !req.ValidateOnly && len(command.Topics) > 0 {
		k.carryOutCreate(req, &command, places, resp)
	}
	return resp
}

func (k *call) refuseTopic(out *kmsg.CreateTopicsResponseTopic, e *metadata.Error) {
	text := e.Message
	*out = kmsg.CreateTopicsResponseTopic{
		Topic: out.Topic, ErrorCode: k.code(e.Code), ErrorMessage: &text, NumPartitions: -1, ReplicationFactor: -1,
		Configs: []kmsg.CreateTopicsResponseTopicConfig{}, // empty, not null
	}
}

// carryOutCreate proposes the topics and enters the outcome at their places.
func (k *call) carryOutCreate(req *kmsg.CreateTopicsRequest, command *metadata.CreateTopics, places []int, resp *kmsg.CreateTopicsResponse) {
	timeout := requestTimeout(req.TimeoutMillis)
	ctx, cancel := context.WithTimeout(k.ctx, timeout)
	defer cancel()
	result, err := k.b.propose(ctx, command)
	var created []metadata.TopicID
	for n, place := range places {
		out := &resp.Topics[place]
		switch {
		case err != nil:
			code, text := refusal(err)
			k.refuseTopic(out, &metadata.Error{Code: code, Message: *text})
		case result.Topics[n].Error != nil:
			k.refuseTopic(out, result.Topics[n].Error)
		default:
			out.TopicID = result.Topics[n].ID
			created = append(created, result.Topics[n].ID)
			k.b.log.Info("topic created", "topic", out.Topic, "partitions", out.NumPartitions, "replication_factor", out.ReplicationFactor)
		}
	}
	if len(created) > 0 {
		k.b.partitions.awaitLeaders(ctx, created, timeout)
	}
}

// planTopic checks a topic and chooses its replicas.
func (k *call) planTopic(image *metadata.Image, rt *kmsg.CreateTopicsRequestTopic) (*metadata.NewTopic, *metadata.Error) {
	fail := func(code protocol.Code, format string, args ...any) (*metadata.NewTopic, *metadata.Error) {
		return nil, &metadata.Error{Code: code, Message: fmt.Sprintf(format, args...)}
	}
	if err := metadata.ValidateTopicName(rt.Topic); err != nil {
		return fail(protocol.InvalidTopicException, "%s", err)
	}
	if rt.Topic == clusterMetadataTopic {
		return fail(protocol.InvalidRequest, "Creation of internal topic %s is prohibited.", rt.Topic)
	}
	if _, exists := image.Topic(rt.Topic); exists {
		return fail(protocol.TopicAlreadyExists, "Topic '%s' already exists.", rt.Topic)
	}
	if image.Collides(rt.Topic) {
		return fail(protocol.InvalidTopicException, "Topic '%s' collides with an existing topic: '.' and '_' are alike.", rt.Topic)
	}
	configs := make(map[string]string, len(rt.Configs))
	for _, c := range rt.Configs {
		if c.Value == nil {
			return fail(protocol.InvalidConfig, "Null value not supported for topic configs: %s", c.Name)
		}
		configs[c.Name] = *c.Value
	}
	if err := k.b.schema.ValidateAll(configs); err != nil {
		return fail(protocol.InvalidConfig, "%s", err)
	}
	replicas, refused := k.planReplicas(image, rt)
	if refused != nil {
		return nil, refused
	}
	return &metadata.NewTopic{Name: rt.Topic, ID: newTopicID(), Replicas: replicas, Configs: configs}, nil
}

func (k *call) planReplicas(image *metadata.Image, rt *kmsg.CreateTopicsRequestTopic) ([][]int32, *metadata.Error) {
	fail := func(code protocol.Code, text string) ([][]int32, *metadata.Error) {
		return nil, &metadata.Error{Code: code, Message: text}
	}
	if len(rt.ReplicaAssignment) > 0 {
		if rt.ReplicationFactor != -1 {
			return fail(protocol.InvalidRequest, "A manual partition assignment was specified, but replication factor was not set to -1.")
		}
		if rt.NumPartitions != -1 {
			return fail(protocol.InvalidRequest, "A manual partition assignment was specified, but numPartitions was not set to -1.")
		}
		replicas := make([][]int32, len(rt.ReplicaAssignment))
		for _, a := range rt.ReplicaAssignment {
			if a.Partition < 0 || int(a.Partition) >= len(replicas) || replicas[a.Partition] != nil {
				return fail(protocol.InvalidReplicaAssignment, "partitions should be a consecutive 0-based integer sequence")
			}
			replicas[a.Partition] = append([]int32{}, a.Replicas...)
		}
		return replicas, checkAssignment(image, replicas, len(replicas[0]))
	}
	partitions, factor := int(rt.NumPartitions), int(rt.ReplicationFactor)
	if factor == -1 {
		factor = k.b.replicationFactor(image)
	} else if factor <= 0 {
		return fail(protocol.InvalidReplicationFactor, "Replication factor must be larger than 0, or -1 to use the default value.")
	}
	if partitions == -1 {
		partitions = int(k.b.opts.Config.NumPartitions)
	} else if partitions <= 0 {
		return fail(protocol.InvalidPartitions, "Number of partitions was set to an invalid non-positive value.")
	}
	if partitions > k.b.opts.Config.MaxPartitionsPerRequest {
		return fail(protocol.PolicyViolation, "Excessively large number of partitions per request.")
	}
	return metadata.Place(image, partitions, factor)
}

// checkAssignment checks replicas that a client chose.
func checkAssignment(image *metadata.Image, replicas [][]int32, factor int) *metadata.Error {
	fail := func(format string, args ...any) *metadata.Error {
		return &metadata.Error{Code: protocol.InvalidReplicaAssignment, Message: fmt.Sprintf(format, args...)}
	}
	for _, nodes := range replicas {
		if len(nodes) == 0 {
			return fail("The manual partition assignment includes an empty replica list.")
		}
		for i, node := range nodes {
			if slices.Contains(nodes[:i], node) {
				return fail("The manual partition assignment includes the broker %d more than once.", node)
			}
			if b, ok := image.Broker(node); !ok || !b.Registered() {
				return fail("The manual partition assignment includes broker %d, but no such broker is registered.", node)
			}
		}
		if len(nodes) != factor {
			return fail("The manual partition assignment includes a partition with %d replica(s), but this is not consistent with previous partitions, which have %d replica(s).", len(nodes), factor)
		}
	}
	return nil
}

// fillTopic answers what holds for a topic that will be created.
func (k *call) fillTopic(image *metadata.Image, out *kmsg.CreateTopicsResponseTopic, t *metadata.NewTopic) {
	factor := len(t.Replicas[0])
	out.NumPartitions, out.ReplicationFactor = int32(len(t.Replicas)), int16(factor) //nolint:gosec // bounded above
	if k.version < 5 {
		return
	}
	inherited := k.b.inherited(image)
	for i := range k.b.schema.Defs() {
		d := &k.b.schema.Defs()[i]
		v := topicconfig.Resolve(d, t.Configs, inherited, factor)[0]
		c := kmsg.NewCreateTopicsResponseTopicConfig()
		c.Name, c.Value, c.Source = d.Name, &v.Value, int8(v.Source)
		out.Configs = append(out.Configs, c)
	}
}

// newTopicID makes a random UUID (version 4), one that does not begin with '-' in Kafka's notation: tools
// would take it for an option.
func newTopicID() metadata.TopicID {
	for {
		var id metadata.TopicID
		if _, err := rand.Read(id[:]); err != nil {
			panic(errors.Join(errors.New("broker: no randomness"), err))
		}
		id[6] = id[6]&0x0f | 0x40
		id[8] = id[8]&0x3f | 0x80
		if id.String()[0] != '-' {
			return id
		}
	}
}
