package protocol_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/stelemq/stele/protocol"
)

func TestCodes_AreThoseOfKafka(t *testing.T) {
	all := rows(t, "kafka-errors.tsv")
	if len(all) != len(protocol.Codes()) {
		t.Errorf("%d codes, Kafka has %d", len(protocol.Codes()), len(all))
	}
	for _, row := range all {
		c := protocol.Code(number(t, row[0]))
		if c.String() != row[1] || c.Retriable() != (row[2] == "retriable") || c.Text() == "" {
			t.Errorf("code %d is %s, retriable %v; Kafka's is %s, %s", c, c, c.Retriable(), row[1], row[2])
		}
	}
}

func TestCodes_HaveTheirNames(t *testing.T) {
	for c, want := range map[protocol.Code]string{
		protocol.UnknownServerError:         "UNKNOWN_SERVER_ERROR",
		protocol.None:                       "NONE",
		protocol.OffsetOutOfRange:           "OFFSET_OUT_OF_RANGE",
		protocol.NotLeaderOrFollower:        "NOT_LEADER_OR_FOLLOWER",
		protocol.OutOfOrderSequenceNumber:   "OUT_OF_ORDER_SEQUENCE_NUMBER",
		protocol.UnsupportedCompressionType: "UNSUPPORTED_COMPRESSION_TYPE",
		protocol.InvalidRecord:              "INVALID_RECORD",
		protocol.UnknownTopicID:             "UNKNOWN_TOPIC_ID",
		protocol.ShareSessionLimitReached:   "SHARE_SESSION_LIMIT_REACHED",
	} {
		if c.String() != want {
			t.Errorf("code %d is %s, want %s", int16(c), c, want)
		}
	}
}

func TestCode_AsError(t *testing.T) {
	if protocol.None.Err() != nil {
		t.Error("NONE is no error")
	}
	err := fmt.Errorf("write: %w", protocol.NotEnoughReplicas.Err())
	if !errors.Is(err, protocol.NotEnoughReplicas) || errors.Is(err, protocol.NotController) {
		t.Error("a code is found in a chain of errors")
	}
	var c protocol.Code
	if !errors.As(err, &c) || !c.Retriable() {
		t.Errorf("got %v", c)
	}
	for _, c := range []protocol.Code{-2, 134, -32768, 32767} {
		if c.Retriable() || c.Text() != "" || c.Error() != fmt.Sprintf("CODE_%d", int16(c)) {
			t.Errorf("unknown code: %v", c)
		}
	}
}
