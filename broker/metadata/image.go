package metadata

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"iter"
	"maps"
	"slices"
)

// TopicID is a topic's UUID: a topic that is deleted and created again has another one.
type TopicID [16]byte

// String returns the id as Kafka writes it, base64 URL without padding.
func (t TopicID) String() string { return base64.RawURLEncoding.EncodeToString(t[:]) }

// IsZero reports whether the id is the wire's "no id".
func (t TopicID) IsZero() bool { return t == TopicID{} }

// MarshalText writes the id in hexadecimal.
func (t TopicID) MarshalText() ([]byte, error) { return []byte(hex.EncodeToString(t[:])), nil }

// UnmarshalText reads what MarshalText wrote.
func (t *TopicID) UnmarshalText(b []byte) error {
	if hex.DecodedLen(len(b)) != len(t) {
		return fmt.Errorf("metadata: topic id %q", b)
	}
	if _, err := hex.Decode(t[:], b); err != nil {
		return fmt.Errorf("metadata: topic id: %w", err)
	}
	return nil
}

// Topic is one topic. Immutable.
type Topic struct {
	Name       string            `json:"name"`
	ID         TopicID           `json:"id"`
	Partitions []Partition       `json:"partitions"`
	Configs    map[string]string `json:"configs,omitempty"`
}

// Load is what a node carries by placement.
type Load struct{ Replicas, Leaders int }

// Image is the cluster's metadata at one index. It never changes; every method is safe for concurrent
// use, and what they return must not be modified.
type Image struct {
	index          uint64
	indexBase      uint64 // added to the Raft log's indexes; see RecoverCluster
	clusterID      string
	brokers        map[int32]*Broker
	topics         cowMap[string, *Topic]
	ids            cowMap[TopicID, *Topic]
	unified        cowMap[string, int] // names with '.' and '_' made equal, and how often they occur
	clusterConfigs map[string]string
	brokerConfigs  map[int32]map[string]string
	namedConfigs   map[ConfigResource]map[string]map[string]string // of client metrics and groups
	quotas         map[string]Quota                                // by QuotaEntity.key
	nextProducerID int64
	nextShard      ShardID
	nextNode       int32
	nextMetadata   ReplicaID
	retired        map[ReplicaID]int32
	features       map[string]int16
	partitions     int
	load           map[int32]Load
}

func newImage() *Image {
	return &Image{
		brokers: map[int32]*Broker{}, clusterConfigs: map[string]string{},
		brokerConfigs: map[int32]map[string]string{}, features: map[string]int16{},
		load: map[int32]Load{}, nextShard: FirstShard, nextNode: 1,
		nextMetadata: FirstJoinedReplica, retired: map[ReplicaID]int32{},
		topics:  cowMap[string, *Topic]{hash: hashName[string]},
		ids:     cowMap[TopicID, *Topic]{hash: hashID},
		unified: cowMap[string, int]{hash: hashName[string]},
	}
}

// Index is the Raft index of the last command applied; after a RecoverCluster it goes on from the index before.
func (i *Image) Index() uint64 { return i.index }

// ClusterID is the cluster's name, empty before the first broker has registered.
func (i *Image) ClusterID() string { return i.clusterID }

// Broker returns a registered broker.
func (i *Image) Broker(node int32) (*Broker, bool) { b, ok := i.brokers[node]; return b, ok }

// Brokers returns all registered brokers by node id.
func (i *Image) Brokers() []*Broker {
	out := make([]*Broker, 0, len(i.brokers))
	for _, id := range slices.Sorted(maps.Keys(i.brokers)) {
		out = append(out, i.brokers[id])
	}
	return out
}

// LiveBrokers counts the brokers that are not fenced.
func (i *Image) LiveBrokers() int { return i.countBrokers(func(b *Broker) bool { return !b.Fenced }) }

// Members counts the brokers that belong to the cluster for good: registered once and not being
// decommissioned, alive or not. The automatic replication factor goes by it, so that a topic that is
// created while a node restarts gets no fewer replicas than others.
func (i *Image) Members() int {
	return i.countBrokers(func(b *Broker) bool { return b.Registered() && b.State != NodeDecommissioning })
}

func (i *Image) countBrokers(which func(*Broker) bool) int {
	n := 0
	for _, b := range i.brokers {
		if which(b) {
			n++
		}
	}
	return n
}

// BrokerByDirectory returns the node whose data directory has an id. An empty id is nobody's.
func (i *Image) BrokerByDirectory(id string) (*Broker, bool) {
	if id == "" {
		return nil, false
	}
	for _, b := range i.brokers {
		if b.DirectoryID == id {
			return b, true
		}
	}
	return nil, false
}

// RetiredMetadataReplicas are the replicas of the metadata log that must leave Raft, with the nodes they
// stood on: of nodes that were removed or that came back with another disk. They stay in the list when
// they are gone.
func (i *Image) RetiredMetadataReplicas() map[ReplicaID]int32 { return i.retired }

// Topic returns a topic by its name.
func (i *Image) Topic(name string) (*Topic, bool) { return i.topics.get(name) }

// TopicBytes is Topic for a name that is not yet a string; it does not allocate.
func (i *Image) TopicBytes(name []byte) (*Topic, bool) {
	if i.topics.buckets == nil {
		return nil, false
	}
	t, ok := i.topics.buckets[hashName(name)][string(name)]
	return t, ok
}

// TopicByID returns a topic by its id.
func (i *Image) TopicByID(id TopicID) (*Topic, bool) { return i.ids.get(id) }

// Topics yields all topics in no particular order.
func (i *Image) Topics() iter.Seq[*Topic] {
	return func(yield func(*Topic) bool) {
		for _, t := range i.topics.all() {
			if !yield(t) {
				return
			}
		}
	}
}

// TopicNames returns the names of all topics, sorted.
func (i *Image) TopicNames() []string {
	names := make([]string, 0, i.topics.size)
	for name := range i.topics.all() {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// TopicCount and PartitionCount are how many there are.
func (i *Image) TopicCount() int { return i.topics.size }

// PartitionCount is the number of partitions of all topics.
func (i *Image) PartitionCount() int { return i.partitions }

// Collides reports whether a topic exists whose name differs from name only by '.' and '_'.
func (i *Image) Collides(name string) bool {
	n, _ := i.unified.get(unify(name))
	if _, same := i.topics.get(name); same {
		n--
	}
	return n > 0
}

// ClusterConfig returns a dynamic setting of the whole cluster.
func (i *Image) ClusterConfig(name string) (string, bool) {
	v, ok := i.clusterConfigs[name]
	return v, ok
}

// BrokerConfig returns a dynamic setting of one broker.
func (i *Image) BrokerConfig(node int32, name string) (string, bool) {
	v, ok := i.brokerConfigs[node][name]
	return v, ok
}

// BrokerConfigs returns the dynamic settings of one broker; ClusterConfigs those of all.
func (i *Image) BrokerConfigs(node int32) map[string]string { return i.brokerConfigs[node] }

// ClusterConfigs returns the dynamic settings of the whole cluster.
func (i *Image) ClusterConfigs() map[string]string { return i.clusterConfigs }

// Feature returns the finalized level of a feature; ok is false where nobody has set one.
func (i *Image) Feature(name string) (level int16, ok bool) {
	level, ok = i.features[name]
	return level, ok
}

// NamedConfigs returns the settings of a resource that has a name and nothing else: a subscription to client metrics, a
// group. ok is false where it has none.
func (i *Image) NamedConfigs(r ConfigResource, name string) (configs map[string]string, ok bool) {
	configs, ok = i.namedConfigs[r][name]
	return configs, ok
}

// ConfiguredNames returns the names of such resources that have settings, sorted.
func (i *Image) ConfiguredNames(r ConfigResource) []string {
	return slices.Sorted(maps.Keys(i.namedConfigs[r]))
}

// NodeLoad returns what placement has put on a node.
func (i *Image) NodeLoad(node int32) Load { return i.load[node] }

// clone returns a copy whose scalar fields may be changed; maps are shared until replaced.
func (i *Image) clone() *Image { c := *i; return &c }

func (i *Image) addLoad(p *Partition, sign int) {
	for _, r := range p.Replicas {
		if r.State == Leaving {
			continue
		}
		l := i.load[r.Node]
		l.Replicas += sign
		i.load[r.Node] = l
	}
	l := i.load[p.PreferredLeader()]
	l.Leaders += sign
	i.load[p.PreferredLeader()] = l
}

// putTopic replaces or adds a topic in an image that is still private; load must be a private copy.
func (i *Image) putTopic(t *Topic) {
	if old, ok := i.ids.get(t.ID); ok {
		i.dropTopic(old)
	}
	i.topics = i.topics.with(t.Name, t)
	i.ids = i.ids.with(t.ID, t)
	if u := unify(t.Name); u != t.Name || hasUnderscore(t.Name) {
		n, _ := i.unified.get(u)
		i.unified = i.unified.with(u, n+1)
	}
	i.partitions += len(t.Partitions)
	for n := range t.Partitions {
		i.addLoad(&t.Partitions[n], 1)
	}
}

func (i *Image) dropTopic(t *Topic) {
	i.topics = i.topics.without(t.Name)
	i.ids = i.ids.without(t.ID)
	if u := unify(t.Name); u != t.Name || hasUnderscore(t.Name) {
		if n, _ := i.unified.get(u); n > 1 {
			i.unified = i.unified.with(u, n-1)
		} else {
			i.unified = i.unified.without(u)
		}
	}
	i.partitions -= len(t.Partitions)
	for n := range t.Partitions {
		i.addLoad(&t.Partitions[n], -1)
	}
}
