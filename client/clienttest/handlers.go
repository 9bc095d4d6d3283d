package clienttest

import (
	"math"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/stelemq/stele/protocol"
	"github.com/stelemq/stele/protocol/record"
)

func (c *Cluster) metadata(r *kmsg.MetadataRequest) kmsg.Response {
	c.mu.Lock()
	defer c.mu.Unlock()
	res := r.ResponseKind().(*kmsg.MetadataResponse) //nolint:errcheck,forcetypeassert // its own kind
	id := "clienttest"
	res.ClusterID = &id
	res.ControllerID = c.brokers[0].id
	for _, b := range c.brokers {
		addr := b.listener.Addr().String()
		if c.advertised != "" {
			addr = c.advertised
		}
		host, port := hostPort(addr)
		res.Brokers = append(res.Brokers, kmsg.MetadataResponseBroker{NodeID: b.id, Host: host, Port: port})
	}
	if r.Topics == nil {
		for name := range c.topics {
			res.Topics = append(res.Topics, c.describeLocked(name))
		}
		return res
	}
	for i := range r.Topics {
		name := *r.Topics[i].Topic
		if c.topics[name] == nil && r.AllowAutoTopicCreation && c.autoCreate > 0 {
			c.createLocked(name, c.autoCreate, nil)
		}
		res.Topics = append(res.Topics, c.describeLocked(name))
	}
	return res
}

func (c *Cluster) describeLocked(name string) kmsg.MetadataResponseTopic {
	out := kmsg.MetadataResponseTopic{Topic: &name}
	t := c.topics[name]
	if t == nil {
		out.ErrorCode = code(protocol.UnknownTopicOrPartition)
		return out
	}
	for i, p := range t.partitions {
		m := kmsg.MetadataResponseTopicPartition{Partition: int32(i), Leader: p.leader, Replicas: []int32{1}, ISR: []int32{1}} //nolint:gosec // an index
		if p.leader < 0 {
			m.ErrorCode = code(protocol.LeaderNotAvailable)
			m.OfflineReplicas = []int32{1}
		}
		out.Partitions = append(out.Partitions, m)
	}
	return out
}

// findLocked returns a partition if the broker leads it.
func (c *Cluster) findLocked(b *broker, name string, id int32) (*partition, protocol.Code) {
	t := c.topics[name]
	if t == nil || int(id) >= len(t.partitions) {
		return nil, protocol.UnknownTopicOrPartition
	}
	if p := t.partitions[id]; p.leader == b.id {
		return p, protocol.None
	}
	return nil, protocol.NotLeaderOrFollower
}

func (c *Cluster) produce(b *broker, r *kmsg.ProduceRequest) kmsg.Response {
	c.mu.Lock()
	defer c.mu.Unlock()
	res := r.ResponseKind().(*kmsg.ProduceResponse) //nolint:errcheck,forcetypeassert // its own kind
	for i := range r.Topics {
		t := &r.Topics[i]
		out := kmsg.ProduceResponseTopic{Topic: t.Topic}
		for j := range t.Partitions {
			in := &t.Partitions[j]
			o := kmsg.NewProduceResponseTopicPartition()
			o.Partition, o.BaseOffset, o.LogAppendTime = in.Partition, -1, -1
			p, failed := c.findLocked(b, t.Topic, in.Partition)
			if failed == protocol.None {
				o.BaseOffset, failed = p.append(in.Records)
			}
			o.ErrorCode = code(failed)
			out.Partitions = append(out.Partitions, o)
		}
		res.Topics = append(res.Topics, out)
	}
	c.wakeLocked()
	return res
}

// append checks a batch as a broker does and appends it.
func (p *partition) append(b []byte) (int64, protocol.Code) {
	batch, rest, err := record.Next(append([]byte(nil), b...))
	if err != nil || len(rest) > 0 || batch.Validate() != nil {
		return -1, protocol.CorruptMessage
	}
	if id := batch.ProducerID(); id >= 0 {
		if base, failed := p.checkSequence(batch, id); failed != protocol.None || base >= 0 {
			return base, failed
		}
	}
	var head [record.PatchLen]byte
	record.Patch(&head, batch, record.Offset(p.end), 7)
	copy(batch, head[:])
	base := p.end
	p.batches = append(p.batches, batch)
	p.end = int64(batch.NextOffset())
	if id := batch.ProducerID(); id >= 0 {
		s := p.producers[id]
		s.last = append(s.last, appended{batch.BaseSequence(), batch.Count(), base})
		s.last = s.last[max(0, len(s.last)-5):]
		s.next = int32((int64(batch.BaseSequence()) + int64(batch.Count())) & math.MaxInt32) //nolint:gosec // 31 bits
	}
	return base, protocol.None
}

// checkSequence returns the offset of a batch that is there already, or an
// error, or -1 and none.
func (p *partition) checkSequence(b record.Batch, id int64) (int64, protocol.Code) {
	s := p.producers[id]
	if s == nil {
		s = &producer{epoch: b.ProducerEpoch(), next: b.BaseSequence()}
		p.producers[id] = s
	}
	for _, a := range s.last {
		if a.sequence == b.BaseSequence() && a.count == b.Count() {
			return a.base, protocol.None
		}
	}
	switch {
	case b.ProducerEpoch() < s.epoch:
		return -1, protocol.InvalidProducerEpoch
	case b.BaseSequence() != s.next:
		return -1, protocol.OutOfOrderSequenceNumber
	default:
		return -1, protocol.None
	}
}

func (c *Cluster) initProducerID(r *kmsg.InitProducerIDRequest) kmsg.Response {
	c.mu.Lock()
	defer c.mu.Unlock()
	res := r.ResponseKind().(*kmsg.InitProducerIDResponse) //nolint:errcheck,forcetypeassert // its own kind
	c.nextPID++
	res.ProducerID = c.nextPID
	return res
}

// fetch answers when there is something, or when the request's wait is over.
func (c *Cluster) fetch(b *broker, r *kmsg.FetchRequest) kmsg.Response {
	deadline := time.NewTimer(time.Duration(r.MaxWaitMillis) * time.Millisecond)
	defer deadline.Stop()
	for {
		c.mu.Lock()
		res, something := c.fetchLocked(b, r)
		changed, closed := c.changed, c.closed
		c.mu.Unlock()
		if something || closed {
			return res
		}
		select {
		case <-changed:
		case <-deadline.C:
			return res
		}
	}
}

func (c *Cluster) fetchLocked(b *broker, r *kmsg.FetchRequest) (res *kmsg.FetchResponse, something bool) {
	res = r.ResponseKind().(*kmsg.FetchResponse) //nolint:errcheck,forcetypeassert // its own kind
	for i := range r.Topics {
		t := &r.Topics[i]
		out := kmsg.FetchResponseTopic{Topic: t.Topic}
		for j := range t.Partitions {
			in := &t.Partitions[j]
			o := kmsg.NewFetchResponseTopicPartition()
			o.Partition = in.Partition
			p, failed := c.findLocked(b, t.Topic, in.Partition)
			switch {
			case failed != protocol.None:
			case in.FetchOffset < p.start || in.FetchOffset > p.end:
				failed = protocol.OffsetOutOfRange
			default:
				o.HighWatermark, o.LastStableOffset, o.LogStartOffset = p.end, p.end, p.start
				o.RecordBatches = p.read(in.FetchOffset, int(in.PartitionMaxBytes))
			}
			o.ErrorCode = code(failed)
			something = something || failed != protocol.None || len(o.RecordBatches) > 0
			out.Partitions = append(out.Partitions, o)
		}
		res.Topics = append(res.Topics, out)
	}
	return res, something
}

func (p *partition) read(from int64, maxBytes int) []byte {
	out := []byte{}
	for _, b := range p.batches {
		if int64(b.NextOffset()) <= from {
			continue
		}
		if len(out) > 0 && len(out)+len(b) > maxBytes {
			break
		}
		out = append(out, b...)
	}
	return out
}

func (c *Cluster) listOffsets(b *broker, r *kmsg.ListOffsetsRequest) kmsg.Response {
	c.mu.Lock()
	defer c.mu.Unlock()
	res := r.ResponseKind().(*kmsg.ListOffsetsResponse) //nolint:errcheck,forcetypeassert // its own kind
	for i := range r.Topics {
		t := &r.Topics[i]
		out := kmsg.ListOffsetsResponseTopic{Topic: t.Topic}
		for _, in := range t.Partitions {
			o := kmsg.NewListOffsetsResponseTopicPartition()
			o.Partition = in.Partition
			p, failed := c.findLocked(b, t.Topic, in.Partition)
			o.ErrorCode = code(failed)
			if p != nil {
				o.Offset = p.lookUp(in.Timestamp)
			}
			out.Partitions = append(out.Partitions, o)
		}
		res.Topics = append(res.Topics, out)
	}
	return res
}

// lookUp finds the offset of a timestamp, -1 if there is none.
func (p *partition) lookUp(timestamp int64) int64 {
	switch timestamp {
	case -2:
		return p.start
	case -1:
		return p.end
	}
	for _, b := range p.batches {
		for r, err := range b.Records(1 << 30) {
			if err == nil && r.Timestamp >= timestamp {
				return int64(r.Offset)
			}
		}
	}
	return -1
}

func (c *Cluster) createTopics(r *kmsg.CreateTopicsRequest) kmsg.Response {
	c.mu.Lock()
	defer c.mu.Unlock()
	res := r.ResponseKind().(*kmsg.CreateTopicsResponse) //nolint:errcheck,forcetypeassert // its own kind
	for i := range r.Topics {
		t := &r.Topics[i]
		out := kmsg.NewCreateTopicsResponseTopic()
		out.Topic = t.Topic
		switch {
		case c.topics[t.Topic] != nil:
			out.ErrorCode = code(protocol.TopicAlreadyExists)
		case int(t.ReplicationFactor) > len(c.brokers):
			out.ErrorCode = code(protocol.InvalidReplicationFactor)
		case !r.ValidateOnly:
			configs := make(map[string]string)
			for _, k := range t.Configs {
				if k.Value != nil {
					configs[k.Name] = *k.Value
				}
			}
			c.createLocked(t.Topic, int(max(1, t.NumPartitions)), configs)
		}
		out.NumPartitions, out.ReplicationFactor = max(1, t.NumPartitions), max(1, t.ReplicationFactor)
		res.Topics = append(res.Topics, out)
	}
	return res
}

func (c *Cluster) deleteTopics(r *kmsg.DeleteTopicsRequest) kmsg.Response {
	c.mu.Lock()
	defer c.mu.Unlock()
	res := r.ResponseKind().(*kmsg.DeleteTopicsResponse) //nolint:errcheck,forcetypeassert // its own kind
	for _, name := range r.TopicNames {
		out := kmsg.NewDeleteTopicsResponseTopic()
		out.Topic = &name
		if c.topics[name] == nil {
			out.ErrorCode = code(protocol.UnknownTopicOrPartition)
		}
		delete(c.topics, name)
		res.Topics = append(res.Topics, out)
	}
	c.wakeLocked()
	return res
}
