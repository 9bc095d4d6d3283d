package workload

import "fmt"

// code is an error code of Kafka's protocol.
type code int16

// The codes that this client treats specially.
const (
	codeOffsetOutOfRange        code = 1
	codeOutOfOrderSequence      code = 45
	codeDuplicateSequenceNumber code = 46
)

func (c code) Error() string { return fmt.Sprintf("error code %d", int16(c)) }

// errorOf returns nil for "no error".
func errorOf(n int16) error {
	if n == 0 {
		return nil
	}
	return code(n)
}

// retriable says whether a producer should send the same batch again: Kafka's retriable codes that an answer to
// Produce may carry.
func (c code) retriable() bool {
	switch c {
	case 2, // CORRUPT_MESSAGE
		3,   // UNKNOWN_TOPIC_OR_PARTITION
		5,   // LEADER_NOT_AVAILABLE
		6,   // NOT_LEADER_OR_FOLLOWER
		7,   // REQUEST_TIMED_OUT
		13,  // NETWORK_EXCEPTION
		19,  // NOT_ENOUGH_REPLICAS
		20,  // NOT_ENOUGH_REPLICAS_AFTER_APPEND
		56,  // KAFKA_STORAGE_ERROR
		74,  // FENCED_LEADER_EPOCH
		75,  // UNKNOWN_LEADER_EPOCH
		89,  // THROTTLING_QUOTA_EXCEEDED
		100: // UNKNOWN_TOPIC_ID
		return true
	}
	return false
}
