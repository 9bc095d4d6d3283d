package metadata

import (
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/stelemq/stele/protocol"
)

// Machine is the replicated state machine: it applies commands one by one and publishes an [Image]
// after each. Apply and Restore must be called by one goroutine at a time; the rest is safe for
// concurrent use.
type Machine struct {
	image atomic.Pointer[Image]
	err   atomic.Pointer[error] // sticky; see Err

	mu       sync.Mutex
	watchers map[int]func(Change) // mu guards
	nextID   int                  // mu guards
}

// Change is what a watcher is told.
type Change struct {
	Image *Image
	// Topics that were created, changed or deleted.
	Topics []TopicID
	// All: anything may have changed (a snapshot was restored, or settings of the whole cluster).
	All bool
}

// NewMachine returns a machine with an empty image.
func NewMachine() *Machine {
	m := &Machine{watchers: map[int]func(Change){}}
	m.image.Store(newImage())
	return m
}

// Image returns the newest image.
func (m *Machine) Image() *Image { return m.image.Load() }

// Err returns why the machine has stopped, nil while it has not. It stops for good when it meets a
// command or snapshot of a newer version: going on would make this replica differ from the others.
func (m *Machine) Err() error {
	if p := m.err.Load(); p != nil {
		return *p
	}
	return nil
}

// Watch calls f after each change, from the goroutine that applies: f must not block. The first call
// comes before Watch returns, with All set.
func (m *Machine) Watch(f func(Change)) (cancel func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	id := m.nextID
	m.nextID++
	m.watchers[id] = f
	f(Change{Image: m.Image(), All: true})
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(m.watchers, id)
	}
}

// Apply carries out an encoded command and returns an encoded [Result]. It is deterministic: it depends
// on the image and the command alone.
func (m *Machine) Apply(index uint64, command []byte) []byte {
	if m.Err() != nil {
		return encodeResult(refuse(protocol.UnsupportedVersion, "stopped: %v", m.Err()))
	}
	c, err := Decode(command)
	if errors.Is(err, ErrUnsupportedVersion) {
		m.stop(err)
		return encodeResult(refuse(protocol.UnsupportedVersion, "%v", err))
	}
	if err != nil {
		return encodeResult(refuse(protocol.InvalidRequest, "%v", err))
	}
	if result, done := m.recover(index, c); done {
		return encodeResult(result)
	}
	next, result, topics := m.Image().apply(m.Image().indexBase+index, c)
	settings := false
	switch c.(type) {
	case *SetConfigs, *SetQuotas, *SetFeatures:
		settings = true
	}
	m.publish(Change{Image: next, Topics: topics, All: settings && len(topics) == 0})
	return encodeResult(result)
}

func (m *Machine) stop(err error) {
	m.err.CompareAndSwap(nil, &err)
	m.publish(Change{Image: m.Image()})
}

func (m *Machine) publish(c Change) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.image.Store(c.Image)
	for _, f := range m.watchers {
		f(c)
	}
}

// encodeResult cannot fail: a Result holds strings and numbers only.
func encodeResult(r Result) []byte {
	b, err := json.Marshal(r)
	if err != nil {
		return []byte(`{"error":{"code":-1,"message":"encode result"}}`)
	}
	return b
}

// snapshotVersion is the version of the snapshot's format. Version 1 knew of one broker alone: all replicas
// were voters for ever. It is still read. Version 3 has an index base; where there is none version 2 is written.
const snapshotVersion = 3

type snapshot struct {
	Version        int                         `json:"version"`
	Index          uint64                      `json:"index"`
	IndexBase      uint64                      `json:"index_base,omitempty"`
	ClusterID      string                      `json:"cluster_id"`
	Brokers        []*Broker                   `json:"brokers"`
	Topics         []*Topic                    `json:"topics"`
	ClusterConfigs map[string]string           `json:"cluster_configs"`
	BrokerConfigs  map[int32]map[string]string `json:"broker_configs"`
	NextProducerID int64                       `json:"next_producer_id"`
	NextShard      ShardID                     `json:"next_shard"`
	NextNode       int32                       `json:"next_node"`
	NextMetadata   ReplicaID                   `json:"next_metadata_replica"`
	Retired        map[ReplicaID]int32         `json:"retired_metadata_replicas,omitempty"`
	Features       map[string]int16            `json:"features"`

	NamedConfigs map[ConfigResource]map[string]map[string]string `json:"named_configs,omitempty"`
	Quotas       []Quota                                         `json:"quotas,omitempty"`
}

// Snapshot returns the whole state. Equal states give equal bytes.
func (m *Machine) Snapshot() ([]byte, error) {
	if err := m.Err(); err != nil {
		return nil, err
	}
	i := m.Image()
	s := snapshot{
		Version: snapshotVersion - 1, Index: i.index, IndexBase: i.indexBase, ClusterID: i.clusterID, Brokers: i.Brokers(),
		ClusterConfigs: i.clusterConfigs, BrokerConfigs: i.brokerConfigs,
		NextProducerID: i.nextProducerID, NextShard: i.nextShard, Features: i.features,
		NextNode: i.nextNode, NextMetadata: i.nextMetadata, Retired: i.retired,
		NamedConfigs: i.namedConfigs, Quotas: i.Quotas(),
	}
	if i.indexBase > 0 {
		s.Version = snapshotVersion
	}
	for _, name := range i.TopicNames() {
		t, _ := i.Topic(name)
		s.Topics = append(s.Topics, t)
	}
	b, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("metadata: encode snapshot: %w", err)
	}
	return b, nil
}

// Restore replaces the whole state by that of a snapshot. On an error the state is as before.
// Errors: ErrUnsupportedVersion.
func (m *Machine) Restore(b []byte) error {
	i, err := decodeSnapshot(b)
	if errors.Is(err, ErrUnsupportedVersion) {
		m.stop(err)
	}
	if err != nil {
		return err
	}
	m.publish(Change{Image: i, All: true})
	return nil
}

func decodeSnapshot(b []byte) (*Image, error) {
	var s snapshot
	if err := json.Unmarshal(b, &s); err != nil {
		return nil, fmt.Errorf("metadata: decode snapshot: %w", err)
	}
	if s.Version > snapshotVersion {
		return nil, fmt.Errorf("%w: snapshot version %d", ErrUnsupportedVersion, s.Version)
	}
	i := newImage()
	i.index, i.indexBase, i.clusterID = s.Index, s.IndexBase, s.ClusterID
	i.nextProducerID, i.nextShard = s.NextProducerID, s.NextShard
	i.nextNode, i.nextMetadata = max(i.nextNode, s.NextNode), max(i.nextMetadata, s.NextMetadata)
	for _, broker := range s.Brokers {
		i.brokers[broker.Node] = broker
		i.nextNode = max(i.nextNode, broker.Node+1)
	}
	if s.Retired != nil {
		i.retired = s.Retired
	}
	if s.ClusterConfigs != nil {
		i.clusterConfigs = s.ClusterConfigs
	}
	if s.BrokerConfigs != nil {
		i.brokerConfigs = s.BrokerConfigs
	}
	if s.Features != nil {
		i.features = s.Features
	}
	i.namedConfigs = s.NamedConfigs
	for _, q := range s.Quotas {
		i.putQuota(q)
	}
	for _, t := range s.Topics {
		for n := range t.Partitions {
			t.Partitions[n].normalize()
		}
		i.putTopic(t)
	}
	return i, nil
}
