package metadata

// RegisterBroker makes a node known that is about to serve clients, or renews what is known of it, and
// unfences it. Refused with INVALID_REGISTRATION: the node is known by another data directory or metadata
// replica, so this one must join first (its disk was replaced).
type RegisterBroker struct {
	Node        int32      `json:"node"`
	Rack        string     `json:"rack,omitempty"`
	Endpoints   []Endpoint `json:"endpoints"`
	Incarnation string     `json:"incarnation"`
	// ClusterID names the cluster if nobody has yet.
	ClusterID string `json:"cluster_id"`
	// RaftAddress, DirectoryID and MetadataReplica are new in version 2; empty: nothing is known of them,
	// and what was known stays.
	RaftAddress     string    `json:"raft_address,omitempty"`
	DirectoryID     string    `json:"directory_id,omitempty"`
	MetadataReplica ReplicaID `json:"metadata_replica,omitempty"`
	// Follows is new in version 3. They are the incarnations of the directory before this one, as far as it remembers; empty: it does not say. Where the
	// last one that was registered is not among them the directory is a copy from before that start: INVALID_REGISTRATION.
	Follows []string `json:"follows,omitempty"`
}

// JoinNode takes a node into the cluster: it gets its node id and the id of its metadata replica
// (Result.Node, Result.MetadataReplica, Result.ClusterID). It is idempotent by DirectoryID: a directory
// that is known gets the same answer again.
//
// A node id that comes with another directory is a wiped disk: it gets a new metadata replica, the old one
// is retired, and each of its partition replicas is marked Leaving and replaced by a new id, a Learner on
// the same node: votes that the old disk gave cannot be given again.
// Refused with DUPLICATE_BROKER_REGISTRATION while the node of that id is alive: ask again when it is
// fenced; INVALID_REQUEST: no directory id, or the directory is another node's.
type JoinNode struct {
	DirectoryID string `json:"directory_id"`
	// Node is the id wanted, -1 for the next free one.
	Node        int32  `json:"node"`
	RaftAddress string `json:"raft_address"`
	Rack        string `json:"rack,omitempty"`
	// Replaces, new in version 2, is the metadata replica that a known directory has lost, 0 for none: it is retired, and the node
	// gets another.
	Replaces ReplicaID `json:"replaces,omitempty"`
}

// BrokerEpoch names one registration of a broker.
type BrokerEpoch struct {
	Node int32 `json:"node"`
	// Epoch is Broker.Epoch: of a broker that has registered anew meanwhile nothing is changed.
	Epoch uint64 `json:"epoch"`
}

// FenceBrokers marks brokers that were silent for too long.
type FenceBrokers struct {
	Brokers []BrokerEpoch `json:"brokers"`
}

// UnfenceBroker marks a broker that is heard again.
type UnfenceBroker struct {
	BrokerEpoch
}

// SetNodeState drains or decommissions a node, or ends that. Refused with BROKER_ID_NOT_REGISTERED.
type SetNodeState struct {
	Node  int32     `json:"node"`
	State NodeState `json:"state,omitempty"`
}

// RemoveNode takes a node out of the cluster and retires its metadata replica. Refused with
// BROKER_ID_NOT_REGISTERED, and with INVALID_REQUEST while partitions have replicas on it.
type RemoveNode struct {
	Node int32 `json:"node"`
}

// NewMetadataReplica retires a node's replica of the metadata log and gives it another id: a voter becomes
// a learner in this way. The id is Result.MetadataReplica.
type NewMetadataReplica struct {
	Node int32 `json:"node"`
	// Replaces is the id that is retired; where the node has another one nothing is changed.
	Replaces ReplicaID `json:"replaces"`
}

// Reassignment is a wish for the replicas of one partition.
type Reassignment struct {
	Topic     TopicID `json:"topic"`
	Partition int32   `json:"partition"`
	// Target are the nodes wanted, in order of preference; nil cancels the reassignment in progress.
	Target []int32 `json:"target"`
}

// AlterReassignments starts, replaces and cancels reassignments, each for itself (Result.Partitions).
// Replicas follow step by step (ChangeReplicas). Where only the order differs the change is complete at
// once. Cancelling drops learners; where old replicas have already begun to leave it becomes a
// reassignment back to where it came from.
// Errors: UNKNOWN_TOPIC_OR_PARTITION, UNKNOWN_TOPIC_ID, INVALID_REPLICA_ASSIGNMENT,
// NO_REASSIGNMENT_IN_PROGRESS.
type AlterReassignments struct {
	Changes []Reassignment `json:"changes"`
}

// ReplicaChange is one step of one partition.
type ReplicaChange struct {
	Topic     TopicID `json:"topic"`
	Partition int32   `json:"partition"`
	// Shard is the generation that the step is meant for; in another one nothing is changed.
	Shard ShardID `json:"shard"`
	// Add is a node that gets a new replica, a Learner; nil: none.
	Add *int32 `json:"add,omitempty"`
	// Leave is a replica that is to leave; 0: none. The last voter never is.
	Leave ReplicaID `json:"leave,omitempty"`
	// Replace is a replica whose files are damaged: it leaves, and a new one comes on the same node; 0: none.
	// The last voter never is.
	Replace ReplicaID `json:"replace,omitempty"`
}

// ChangeReplicas carries the controller's steps towards a wish, or a node's report that a replica of its own is
// damaged.
type ChangeReplicas struct {
	Steps []ReplicaChange `json:"steps"`
}

// ReplicaReport is Raft's membership of a partition as its leader reported it.
type ReplicaReport struct {
	Topic     TopicID `json:"topic"`
	Partition int32   `json:"partition"`
	Shard     ShardID `json:"shard"`
	// Voters that Raft has, and Learners.
	Voters   []ReplicaID `json:"voters"`
	Learners []ReplicaID `json:"learners,omitempty"`
}

// ReplicaStates records what Raft's membership has become: learners that vote are Voters, replicas that
// leave and are gone are dropped, and a reassignment whose target is reached ends. A report without voters,
// or of another generation, changes nothing.
type ReplicaStates struct {
	Reports []ReplicaReport `json:"reports"`
}

// NewGeneration lets a partition that has lost its majority go on from one surviving replica: a new shard
// whose only founder is a new replica id on the survivor's node; every other replica joins it as a Learner
// under a new id. It ends Recover. Refused with INVALID_REQUEST where the partition has moved on.
type NewGeneration struct {
	Topic     TopicID `json:"topic"`
	Partition int32   `json:"partition"`
	// Shard is the generation that ends.
	Shard ShardID `json:"shard"`
	// Survivor is the replica of that generation whose log holds from now on.
	Survivor ReplicaID `json:"survivor"`
}

// RecoverPartition asks the controller, as an operator, to recover a partition whose majority is lost, or
// takes that back. Refused with UNKNOWN_TOPIC_OR_PARTITION.
type RecoverPartition struct {
	Topic     TopicID `json:"topic"`
	Partition int32   `json:"partition"`
	Cancel    bool    `json:"cancel,omitempty"`
}

// SetFeatures finalizes feature levels; a negative one goes back to the default.
type SetFeatures struct {
	Levels map[string]int16 `json:"levels"`
}

func (*RegisterBroker) kind() string     { return kindRegisterBroker }
func (*JoinNode) kind() string           { return kindJoinNode }
func (*FenceBrokers) kind() string       { return kindFenceBrokers }
func (*UnfenceBroker) kind() string      { return kindUnfenceBroker }
func (*SetNodeState) kind() string       { return kindSetNodeState }
func (*RemoveNode) kind() string         { return kindRemoveNode }
func (*NewMetadataReplica) kind() string { return kindNewMetadataReplica }
func (*AlterReassignments) kind() string { return kindAlterReassignments }
func (*ChangeReplicas) kind() string     { return kindChangeReplicas }
func (*ReplicaStates) kind() string      { return kindReplicaStates }
func (*NewGeneration) kind() string      { return kindNewGeneration }
func (*RecoverPartition) kind() string   { return kindRecoverPartition }
func (*SetFeatures) kind() string        { return kindSetFeatures }
