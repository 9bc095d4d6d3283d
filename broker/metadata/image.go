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

// ShardID names one generation of one partition. Never reused; see dledger.ShardID.
type ShardID uint64

// ReplicaID names a replica within a partition. Never reused; see dledger.ReplicaID.
type ReplicaID uint64

// FirstShard is the first shard id given to a partition; those below are the cluster's own.
const FirstShard ShardID = 16

// Replica is one copy of a partition.
type Replica struct {
	Node int32     `json:"node"`
	ID   ReplicaID `json:"id"`
}

// Partition is one partition as the cluster wants it. Immutable.
type Partition struct {
	Shard      ShardID `json:"shard"`
	Generation int32   `json:"generation"`
	// Replicas in order of preference: the first is the preferred leader. Invariant: not empty.
	Replicas []Replica `json:"replicas"`
	// NextReplica is the id that the next replica gets. Invariant: above every id ever given.
	NextReplica ReplicaID `json:"next_replica"`
}

// PreferredLeader is the node that should lead when all is well.
func (p *Partition) PreferredLeader() int32 { return p.Replicas[0].Node }

// ReplicaOn returns the replica on a node.
func (p *Partition) ReplicaOn(node int32) (Replica, bool) {
	for _, r := range p.Replicas {
		if r.Node == node {
			return r, true
		}
	}
	return Replica{}, false
}

// Nodes returns the node ids of the replicas in order of preference.
func (p *Partition) Nodes() []int32 {
	nodes := make([]int32, len(p.Replicas))
	for i, r := range p.Replicas {
		nodes[i] = r.Node
	}
	return nodes
}

// Topic is one topic. Immutable.
type Topic struct {
	Name       string            `json:"name"`
	ID         TopicID           `json:"id"`
	Partitions []Partition       `json:"partitions"`
	Configs    map[string]string `json:"configs,omitempty"`
}

// Endpoint is an address that a broker advertises on a listener.
type Endpoint struct {
	Listener string `json:"listener"`
	Host     string `json:"host"`
	Port     int32  `json:"port"`
}

// Broker is a registered node. Immutable.
type Broker struct {
	Node      int32      `json:"node"`
	Rack      string     `json:"rack,omitempty"`
	Endpoints []Endpoint `json:"endpoints"`
	// Incarnation differs for each start of the process.
	Incarnation string `json:"incarnation"`
	// Epoch is the index of the command that registered it.
	Epoch uint64 `json:"epoch"`
	// Fenced: registered, but not known to be alive.
	Fenced bool `json:"fenced,omitempty"`
}

// Endpoint returns the address advertised on a listener, or the first where it has no such listener.
func (b *Broker) Endpoint(listener string) (Endpoint, bool) {
	for _, e := range b.Endpoints {
		if e.Listener == listener {
			return e, true
		}
	}
	if len(b.Endpoints) == 0 {
		return Endpoint{}, false
	}
	return b.Endpoints[0], true
}

// Load is what a node carries by placement.
type Load struct{ Replicas, Leaders int }

// Image is the cluster's metadata at one index. It never changes; every method is safe for concurrent
// use, and what they return must not be modified.
type Image struct {
	index          uint64
	clusterID      string
	brokers        map[int32]*Broker
	topics         cowMap[string, *Topic]
	ids            cowMap[TopicID, *Topic]
	unified        cowMap[string, int] // names with '.' and '_' made equal, and how often they occur
	clusterConfigs map[string]string
	brokerConfigs  map[int32]map[string]string
	nextProducerID int64
	nextShard      ShardID
	features       map[string]int16
	partitions     int
	load           map[int32]Load
}

func newImage() *Image {
	return &Image{
		brokers: map[int32]*Broker{}, clusterConfigs: map[string]string{},
		brokerConfigs: map[int32]map[string]string{}, features: map[string]int16{},
		load: map[int32]Load{}, nextShard: FirstShard,
		topics:  cowMap[string, *Topic]{hash: hashName[string]},
		ids:     cowMap[TopicID, *Topic]{hash: hashID},
		unified: cowMap[string, int]{hash: hashName[string]},
	}
}

// Index is the Raft index of the last command applied.
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
func (i *Image) LiveBrokers() int {
	n := 0
	for _, b := range i.brokers {
		if !b.Fenced {
			n++
		}
	}
	return n
}

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

// Feature returns the finalized level of a feature, 0 where it has none.
func (i *Image) Feature(name string) int16 { return i.features[name] }

// NodeLoad returns what placement has put on a node.
func (i *Image) NodeLoad(node int32) Load { return i.load[node] }

// clone returns a copy whose scalar fields may be changed; maps are shared until replaced.
func (i *Image) clone() *Image { c := *i; return &c }

func (i *Image) addLoad(p *Partition, sign int) {
	for n, r := range p.Replicas {
		l := i.load[r.Node]
		l.Replicas += sign
		if n == 0 {
			l.Leaders += sign
		}
		i.load[r.Node] = l
	}
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
