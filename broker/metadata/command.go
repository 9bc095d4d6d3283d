package metadata

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/stelemq/stele/protocol"
)

// ErrUnsupportedVersion: a command or a snapshot was written by a newer version of this software.
var ErrUnsupportedVersion = errors.New("metadata: unsupported version")

// Command is one change of the metadata. Its types are the structs of this package with a line in the
// table of newCommand: RegisterBroker, CreateTopics, and so on.
//
// A command is encoded as {"kind": name, "v": version of that kind, "body": {...}}. A program that meets
// a kind or version it does not know has missed an upgrade: it must not go on with a state that differs
// from the others', so the [Machine] stops.
type Command interface {
	kind() string
}

const (
	kindRegisterBroker      = "register_broker"
	kindCreateTopics        = "create_topics"
	kindDeleteTopics        = "delete_topics"
	kindCreatePartitions    = "create_partitions"
	kindSetConfigs          = "set_configs"
	kindAllocateProducerIDs = "allocate_producer_ids"
	kindJoinNode            = "join_node"
	kindFenceBrokers        = "fence_brokers"
	kindUnfenceBroker       = "unfence_broker"
	kindSetNodeState        = "set_node_state"
	kindRemoveNode          = "remove_node"
	kindNewMetadataReplica  = "new_metadata_replica"
	kindAlterReassignments  = "alter_reassignments"
	kindChangeReplicas      = "change_replicas"
	kindReplicaStates       = "replica_states"
	kindNewGeneration       = "new_generation"
	kindRecoverPartition    = "recover_partition"
	kindSetFeatures         = "set_features"
	kindSetQuotas           = "set_quotas"
)

// newCommand is how commands are told apart: an empty one of a kind, and the newest version known of it;
// nil where the kind is unknown.
func newCommand(kind string) (c Command, version int) {
	switch kind {
	case kindRegisterBroker:
		return &RegisterBroker{}, 3
	case kindCreateTopics:
		return &CreateTopics{}, 1
	case kindDeleteTopics:
		return &DeleteTopics{}, 1
	case kindCreatePartitions:
		return &CreatePartitions{}, 1
	case kindSetConfigs:
		return &SetConfigs{}, 2
	case kindSetQuotas:
		return &SetQuotas{}, 1
	case kindAllocateProducerIDs:
		return &AllocateProducerIDs{}, 1
	case kindJoinNode:
		return &JoinNode{}, 2
	case kindFenceBrokers:
		return &FenceBrokers{}, 1
	case kindUnfenceBroker:
		return &UnfenceBroker{}, 1
	case kindSetNodeState:
		return &SetNodeState{}, 1
	case kindRemoveNode:
		return &RemoveNode{}, 1
	case kindNewMetadataReplica:
		return &NewMetadataReplica{}, 1
	case kindAlterReassignments:
		return &AlterReassignments{}, 1
	case kindChangeReplicas:
		return &ChangeReplicas{}, 1
	case kindReplicaStates:
		return &ReplicaStates{}, 1
	case kindNewGeneration:
		return &NewGeneration{}, 1
	case kindRecoverPartition:
		return &RecoverPartition{}, 1
	case kindSetFeatures:
		return &SetFeatures{}, 1
	case kindRecoverCluster:
		return &RecoverCluster{}, 1
	}
	return nil, 0
}

// NewTopic is a topic to be created.
type NewTopic struct {
	Name string  `json:"name"`
	ID   TopicID `json:"id"`
	// Replicas are the nodes of each partition, see [Place].
	Replicas [][]int32         `json:"replicas"`
	Configs  map[string]string `json:"configs,omitempty"`
}

// CreateTopics creates topics, each for itself. One that exists under the same id is no error, so that
// the command may be repeated.
type CreateTopics struct {
	Topics []NewTopic `json:"topics"`
}

// DeleteTopics deletes topics by id, each for itself.
type DeleteTopics struct {
	IDs []TopicID `json:"ids"`
}

// CreatePartitions adds partitions to a topic that has From of them.
type CreatePartitions struct {
	ID       TopicID   `json:"id"`
	From     int       `json:"from"`
	Replicas [][]int32 `json:"replicas"`
}

// ConfigResource is what a setting belongs to.
type ConfigResource string

// Resources of SetConfigs.
const (
	ConfigTopic   ConfigResource = "topic"
	ConfigCluster ConfigResource = "cluster"
	ConfigBroker  ConfigResource = "broker"
	// ConfigClientMetrics are subscriptions to clients' metrics (KIP-714), ConfigGroup groups, both by Name; since version 2.
	ConfigClientMetrics ConfigResource = "client_metrics"
	ConfigGroup         ConfigResource = "group"
)

// SetConfigs changes settings: a nil value removes one.
type SetConfigs struct {
	Resource ConfigResource     `json:"resource"`
	Topic    TopicID            `json:"topic,omitzero"`
	Node     int32              `json:"node,omitempty"`
	Name     string             `json:"name,omitempty"`
	Set      map[string]*string `json:"set"`
}

// AllocateProducerIDs takes Count producer ids that nobody else will get.
type AllocateProducerIDs struct {
	Node  int32 `json:"node"`
	Count int64 `json:"count"`
}

func (*CreateTopics) kind() string        { return kindCreateTopics }
func (*DeleteTopics) kind() string        { return kindDeleteTopics }
func (*CreatePartitions) kind() string    { return kindCreatePartitions }
func (*SetConfigs) kind() string          { return kindSetConfigs }
func (*AllocateProducerIDs) kind() string { return kindAllocateProducerIDs }

type envelope struct {
	Kind    string          `json:"kind"`
	Version int             `json:"v"`
	Body    json.RawMessage `json:"body"`
}

// Encode returns the bytes to propose.
func Encode(c Command) ([]byte, error) {
	body, err := json.Marshal(c)
	if err != nil {
		return nil, fmt.Errorf("metadata: encode %s: %w", c.kind(), err)
	}
	_, version := newCommand(c.kind())
	out, err := json.Marshal(envelope{Kind: c.kind(), Version: version, Body: body})
	if err != nil {
		return nil, fmt.Errorf("metadata: encode %s: %w", c.kind(), err)
	}
	return out, nil
}

// Decode reads what Encode wrote. Errors: ErrUnsupportedVersion.
func Decode(b []byte) (Command, error) {
	var e envelope
	if err := json.Unmarshal(b, &e); err != nil {
		return nil, fmt.Errorf("metadata: decode command: %w", err)
	}
	c, version := newCommand(e.Kind)
	if c == nil || e.Version > version {
		return nil, fmt.Errorf("%w: command %q version %d", ErrUnsupportedVersion, e.Kind, e.Version)
	}
	if err := json.Unmarshal(e.Body, c); err != nil {
		return nil, fmt.Errorf("metadata: decode %s: %w", e.Kind, err)
	}
	return c, nil
}

// Error says why a command, or a part of it, was refused.
type Error struct {
	Code    protocol.Code `json:"code"`
	Message string        `json:"message,omitempty"`
}

// Error implements error.
func (e *Error) Error() string { return fmt.Sprintf("metadata: %s (error %d)", e.Message, e.Code) }

// TopicResult is what became of one topic of a command.
type TopicResult struct {
	Name  string  `json:"name,omitempty"`
	ID    TopicID `json:"id"`
	Error *Error  `json:"error,omitempty"`
}

// PartitionResult is what became of one partition of a command.
type PartitionResult struct {
	Topic     TopicID `json:"topic"`
	Partition int32   `json:"partition"`
	Error     *Error  `json:"error,omitempty"`
}

// Result is what Apply made of a command.
type Result struct {
	// Error: the command was refused as a whole.
	Error *Error `json:"error,omitempty"`
	// Topics of CreateTopics, DeleteTopics and CreatePartitions, in the command's order.
	Topics []TopicResult `json:"topics,omitempty"`
	// Partitions of AlterReassignments, in the command's order.
	Partitions []PartitionResult `json:"partitions,omitempty"`
	// FirstProducerID of AllocateProducerIDs.
	FirstProducerID int64 `json:"first_producer_id,omitempty"`
	// Node and MetadataReplica of JoinNode; MetadataReplica of NewMetadataReplica.
	Node            int32     `json:"node,omitempty"`
	MetadataReplica ReplicaID `json:"metadata_replica,omitempty"`
	// ClusterID of RegisterBroker and JoinNode.
	ClusterID string `json:"cluster_id,omitempty"`
}

// DecodeResult reads what Apply returned.
func DecodeResult(b []byte) (Result, error) {
	var r Result
	if err := json.Unmarshal(b, &r); err != nil {
		return Result{}, fmt.Errorf("metadata: decode result: %w", err)
	}
	return r, nil
}
