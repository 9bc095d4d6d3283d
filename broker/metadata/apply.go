package metadata

import (
	"fmt"
	"maps"
	"slices"

	"github.com/stelemq/stele/protocol"
)

// apply returns the image after a command, the result, and the topics that it touched. The image is i
// itself where nothing changed.
func (i *Image) apply(index uint64, c Command) (*Image, Result, []TopicID) {
	next := i.clone()
	next.index = index
	switch c := c.(type) {
	case *CreateTopics:
		r, ids := next.createTopics(c)
		return next, r, ids
	case *DeleteTopics:
		r, ids := next.deleteTopics(c)
		return next, r, ids
	case *CreatePartitions:
		r, ids := next.createPartitions(c)
		return next, r, ids
	case *SetConfigs:
		r, ids := next.setConfigs(c)
		return next, r, ids
	case *AllocateProducerIDs:
		return next, next.allocateProducerIDs(c), nil
	case *SetQuotas:
		return next, next.setQuotas(c), nil
	case *SetFeatures:
		return next, next.setFeatures(c), nil
	}
	if r, known := next.applyNodes(c); known {
		return next, r, nil
	}
	e := next.edit()
	r := e.apply(c)
	return next, r, e.finish()
}

func refuse(code protocol.Code, format string, args ...any) Result {
	return Result{Error: &Error{Code: code, Message: fmt.Sprintf(format, args...)}}
}

func (i *Image) createTopics(c *CreateTopics) (Result, []TopicID) {
	i.load = maps.Clone(i.load)
	var r Result
	var ids []TopicID
	for n := range c.Topics {
		t := &c.Topics[n]
		err, created := i.createTopic(t)
		r.Topics = append(r.Topics, TopicResult{Name: t.Name, ID: t.ID, Error: err})
		if created {
			ids = append(ids, t.ID)
		}
	}
	return r, ids
}

func (i *Image) createTopic(t *NewTopic) (refused *Error, created bool) {
	if err := ValidateTopicName(t.Name); err != nil {
		return &Error{protocol.InvalidTopicException, err.Error()}, false
	}
	if old, ok := i.topics.get(t.Name); ok {
		if old.ID == t.ID {
			return nil, false
		}
		return &Error{protocol.TopicAlreadyExists, fmt.Sprintf("Topic '%s' already exists.", t.Name)}, false
	}
	if _, ok := i.ids.get(t.ID); ok || t.ID.IsZero() {
		return &Error{protocol.InvalidRequest, "topic id " + t.ID.String() + " is taken"}, false
	}
	if i.Collides(t.Name) {
		return &Error{protocol.InvalidTopicException, fmt.Sprintf("Topic '%s' collides with existing topics ('.' and '_' are alike).", t.Name)}, false
	}
	if len(t.Replicas) == 0 {
		return &Error{protocol.InvalidPartitions, "Number of partitions must be larger than 0."}, false
	}
	if err := i.checkReplicas(t.Replicas); err != nil {
		return err, false
	}
	topic := &Topic{Name: t.Name, ID: t.ID, Configs: t.Configs}
	topic.Partitions = i.newPartitions(nil, t.Replicas)
	i.putTopic(topic)
	return nil, true
}

func (i *Image) checkReplicas(replicas [][]int32) *Error {
	for _, nodes := range replicas {
		if len(nodes) == 0 {
			return &Error{protocol.InvalidReplicationFactor, "Replication factor must be larger than 0."}
		}
		for n, node := range nodes {
			if b, ok := i.brokers[node]; !ok || !b.Registered() || slices.Contains(nodes[:n], node) {
				return &Error{protocol.InvalidReplicaAssignment, fmt.Sprintf("broker %d is unknown or named twice", node)}
			}
		}
	}
	return nil
}

// newPartitions appends partitions to a copy of have, taking shard ids.
func (i *Image) newPartitions(have []Partition, replicas [][]int32) []Partition {
	out := make([]Partition, len(have), len(have)+len(replicas))
	copy(out, have)
	for _, nodes := range replicas {
		p := Partition{Shard: i.nextShard, Generation: 1, NextReplica: 1, Replicas: make([]Replica, len(nodes))}
		i.nextShard++
		for n, node := range nodes {
			p.Replicas[n] = Replica{Node: node, ID: p.NextReplica}
			p.Founders = append(p.Founders, p.NextReplica)
			p.NextReplica++
		}
		out = append(out, p)
	}
	return out
}

func (i *Image) deleteTopics(c *DeleteTopics) (Result, []TopicID) {
	i.load = maps.Clone(i.load)
	var r Result
	var ids []TopicID
	for _, id := range c.IDs {
		t, ok := i.ids.get(id)
		if !ok {
			r.Topics = append(r.Topics, TopicResult{ID: id, Error: &Error{protocol.UnknownTopicID, "no topic has this id"}})
			continue
		}
		i.dropTopic(t)
		r.Topics = append(r.Topics, TopicResult{Name: t.Name, ID: id})
		ids = append(ids, id)
	}
	return r, ids
}

func (i *Image) createPartitions(c *CreatePartitions) (Result, []TopicID) {
	old, ok := i.ids.get(c.ID)
	if !ok {
		return refuse(protocol.UnknownTopicOrPartition, "no topic has this id"), nil
	}
	if len(old.Partitions) != c.From || len(c.Replicas) == 0 {
		return refuse(protocol.InvalidPartitions, "Topic currently has %d partitions.", len(old.Partitions)), nil
	}
	if err := i.checkReplicas(c.Replicas); err != nil {
		return Result{Error: err}, nil
	}
	i.load = maps.Clone(i.load)
	t := *old
	t.Partitions = i.newPartitions(old.Partitions, c.Replicas)
	i.putTopic(&t)
	return Result{Topics: []TopicResult{{Name: t.Name, ID: t.ID}}}, []TopicID{t.ID}
}

func (i *Image) setConfigs(c *SetConfigs) (Result, []TopicID) {
	switch c.Resource {
	case ConfigTopic:
		old, ok := i.ids.get(c.Topic)
		if !ok {
			return refuse(protocol.UnknownTopicOrPartition, "no topic has this id"), nil
		}
		t := *old
		t.Configs = changed(old.Configs, c.Set)
		i.load = maps.Clone(i.load)
		i.putTopic(&t)
		return Result{}, []TopicID{t.ID}
	case ConfigCluster:
		i.clusterConfigs = changed(i.clusterConfigs, c.Set)
		return Result{}, nil
	case ConfigBroker:
		i.brokerConfigs = maps.Clone(i.brokerConfigs)
		i.brokerConfigs[c.Node] = changed(i.brokerConfigs[c.Node], c.Set)
		return Result{}, nil
	case ConfigClientMetrics, ConfigGroup:
		return i.setNamedConfigs(c), nil
	}
	return refuse(protocol.InvalidRequest, "unknown resource %q", c.Resource), nil
}

func changed(old map[string]string, set map[string]*string) map[string]string {
	out := make(map[string]string, len(old)+len(set))
	maps.Copy(out, old)
	for name, value := range set {
		if value == nil {
			delete(out, name)
		} else {
			out[name] = *value
		}
	}
	return out
}

func (i *Image) allocateProducerIDs(c *AllocateProducerIDs) Result {
	if c.Count < 1 || i.nextProducerID > 1<<62-c.Count {
		return refuse(protocol.InvalidRequest, "%d producer ids", c.Count)
	}
	first := i.nextProducerID
	i.nextProducerID += c.Count
	return Result{FirstProducerID: first}
}

func (i *Image) setFeatures(c *SetFeatures) Result {
	i.features = maps.Clone(i.features)
	for name, level := range c.Levels {
		if level < 0 {
			delete(i.features, name)
		} else {
			i.features[name] = level
		}
	}
	return Result{}
}
