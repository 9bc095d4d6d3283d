package broker

import (
	"errors"

	"github.com/stelemq/stele/dledger"
	"github.com/stelemq/stele/protocol"
)

// logErrors is which Kafka code each error of the log becomes.
func logErrors() map[error]protocol.Code {
	return map[error]protocol.Code{
		dledger.ErrNotLeader:                    protocol.NotLeaderOrFollower,
		dledger.ErrClosed:                       protocol.NotLeaderOrFollower,
		dledger.ErrFencedEpoch:                  protocol.FencedLeaderEpoch,
		dledger.ErrUnknownEpoch:                 protocol.UnknownLeaderEpoch,
		dledger.ErrNotEnoughReplicasAfterAppend: protocol.NotEnoughReplicasAfterAppend,
		dledger.ErrNotEnoughReplicas:            protocol.NotEnoughReplicas,
		dledger.ErrTimeout:                      protocol.RequestTimedOut,
		dledger.ErrOffsetOutOfRange:             protocol.OffsetOutOfRange,
		dledger.ErrOutOfOrderSequence:           protocol.OutOfOrderSequenceNumber,
		// A repetition of a batch that is too old to know its offset: Kafka does not tell it from a gap. (The
		// newest five are answered as they were the first time.)
		dledger.ErrDuplicateSequence:    protocol.OutOfOrderSequenceNumber,
		dledger.ErrInvalidProducerEpoch: protocol.InvalidProducerEpoch,
		dledger.ErrInUse:                protocol.KafkaStorageError,
		dledger.ErrNoSpace:              protocol.KafkaStorageError,
		dledger.ErrCorrupt:              protocol.KafkaStorageError,
		dledger.ErrUnsupportedVersion:   protocol.KafkaStorageError,
	}
}

// logCode turns an error of the log into a Kafka code.
func (b *Broker) logCode(err error) protocol.Code {
	if err == nil {
		return protocol.None
	}
	if code, ok := b.errorCodes[err]; ok {
		return code
	}
	for sentinel, code := range b.errorCodes {
		if errors.Is(err, sentinel) {
			return code
		}
	}
	return protocol.UnknownServerError
}

// proposeCode turns an error of a metadata proposal into a Kafka code. What did not reach the metadata's
// leader may be tried again elsewhere.
func proposeCode(err error) protocol.Code {
	switch {
	case err == nil:
		return protocol.None
	case errors.Is(err, dledger.ErrNotLeader), errors.Is(err, dledger.ErrClosed):
		return protocol.NotController
	case errors.Is(err, dledger.ErrNoSpace):
		return protocol.KafkaStorageError
	}
	return protocol.RequestTimedOut
}
