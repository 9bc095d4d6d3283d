package metadata

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/stelemq/stele/protocol"
)

// ErrUnsupportedVersion: a command or a snapshot was written by a newer version of this software.
var ErrUnsupportedVersion = errors.New("metadata: unsupported version")

// Command is one change of the metadata. Its types are RegisterBroker, CreateTopics, DeleteTopics,
// CreatePartitions, SetConfigs and AllocateProducerIDs.
//
// A command is encoded as {"kind": name, "v": version of that kind, "body": {...}}. A program that meets
// a kind or version it does not know has missed an upgrade: it must not go on with a state that differs
// from the others', so the [Machine] stops.
type Command interface {
	kind() string
}

// kinds is how commands are told apart: the newest version known of each.
func kindVersion(kind string) (version int, known bool) {
	switch kind {
	case kindRegisterBroker, kindCreateTopics, kindDeleteTopics, kindCreatePartitions, kindSetConfigs, kindAllocateProducerIDs:
		return 1, true
	}
	return 0, false
}

const (
	kindRegisterBroker      = "register_broker"
	kindCreateTopics        = "create_topics"
	kindDeleteTopics        = "delete_topics"
	kindCreatePartitions    = "create_partitions"
	kindSetConfigs          = "set_configs"
	kindAllocateProducerIDs = "allocate_producer_ids"
)

// RegisterBroker makes a node known, or renews what is known of it.
type RegisterBroker struct {
	Node        int32      `json:"node"`
	Rack        string     `json:"rack,omitempty"`
	Endpoints   []Endpoint `json:"endpoints"`
	Incarnation string     `json:"incarnation"`
	// ClusterID names the cluster if nobody has yet.
	ClusterID string `json:"cluster_id"`
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
)

// SetConfigs changes settings: a nil value removes one.
type SetConfigs struct {
	Resource ConfigResource     `json:"resource"`
	Topic    TopicID            `json:"topic,omitzero"`
	Node     int32              `json:"node,omitempty"`
	Set      map[string]*string `json:"set"`
}

// AllocateProducerIDs takes Count producer ids that nobody else will get.
type AllocateProducerIDs struct {
	Node  int32 `json:"node"`
	Count int64 `json:"count"`
}

func (*RegisterBroker) kind() string      { return kindRegisterBroker }
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
	version, _ := kindVersion(c.kind())
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
	version, known := kindVersion(e.Kind)
	if !known || e.Version > version {
		return nil, fmt.Errorf("%w: command %q version %d", ErrUnsupportedVersion, e.Kind, e.Version)
	}
	var c Command
	switch e.Kind {
	case kindRegisterBroker:
		c = &RegisterBroker{}
	case kindCreateTopics:
		c = &CreateTopics{}
	case kindDeleteTopics:
		c = &DeleteTopics{}
	case kindCreatePartitions:
		c = &CreatePartitions{}
	case kindSetConfigs:
		c = &SetConfigs{}
	default:
		c = &AllocateProducerIDs{}
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

// Result is what Apply made of a command.
type Result struct {
	// Error: the command was refused as a whole.
	Error *Error `json:"error,omitempty"`
	// Topics of CreateTopics, DeleteTopics and CreatePartitions, in the command's order.
	Topics []TopicResult `json:"topics,omitempty"`
	// FirstProducerID of AllocateProducerIDs.
	FirstProducerID int64 `json:"first_producer_id,omitempty"`
	// ClusterID of RegisterBroker.
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
