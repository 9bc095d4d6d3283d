package dledger

import (
	"encoding/binary"
	"fmt"

	pb "github.com/lni/dragonboat/v4/raftpb"

	"github.com/stelemq/stele/dledger/raftfile"
	"github.com/stelemq/stele/protocol/record"
)

// A command is an entry without records: something that all replicas of a partition must agree on. It takes an
// index and no offset. Encoding: version (1), type, 8-byte little-endian argument; of a log start perhaps one byte more, why.
type commandType byte

const (
	commandVersion = 1
	commandLen     = 10
	// commandLogStart moves the log start offset to the argument.
	commandLogStart commandType = 1
	// commandExpireProducers forgets idempotent producers whose last batch is older than the argument, in
	// milliseconds since the epoch.
	commandExpireProducers commandType = 2
)

func encodeCommand(t commandType, arg int64) []byte {
	return binary.LittleEndian.AppendUint64([]byte{commandVersion, byte(t)}, uint64(arg)) //nolint:gosec // two's complement
}

// encodeLogStart is a command that moves the log start, and says why (startReasons).
func encodeLogStart(to record.Offset, reason string) []byte {
	return append(encodeCommand(commandLogStart, int64(to)), reasonByte(reason))
}

func decodeCommand(b []byte) (commandType, int64, error) {
	if len(b) != commandLen && (len(b) != commandLen+1 || b[1] != byte(commandLogStart)) {
		return 0, 0, fmt.Errorf("%w: command of %d bytes", ErrCorrupt, len(b))
	}
	if b[0] != commandVersion {
		return 0, 0, fmt.Errorf("%w: command version %d", ErrUnsupportedVersion, b[0])
	}
	return commandType(b[1]), int64(binary.LittleEndian.Uint64(b[2:])), nil //nolint:gosec // two's complement
}

// replicaState is what committed entries build up besides the log itself.
type replicaState struct {
	membership pb.Membership
	logStart   record.Offset
}

// apply folds a committed entry. A command of a newer version is an error: a replica that skipped it would
// differ from the others.
func (st *replicaState) apply(r *raftfile.Entry) error {
	switch r.Kind {
	case raftfile.KindConfig:
		return applyConfigChange(&st.membership, r.Index, r.Payload)
	case raftfile.KindCommand:
		t, arg, err := decodeCommand(r.Payload)
		if err != nil {
			return err
		}
		switch t {
		case commandLogStart:
			st.logStart = max(st.logStart, min(record.Offset(arg), r.Next))
		case commandExpireProducers:
		default:
			return fmt.Errorf("%w: command type %d", ErrUnsupportedVersion, t)
		}
	case raftfile.KindData, raftfile.KindNoop, raftfile.KindVoid:
	}
	return nil
}

// executeLocked does to the log what a committed command says.
func (s *shardLog) executeLocked(r *raftfile.Entry) error {
	t, arg, err := decodeCommand(r.Payload)
	if err != nil {
		return err
	}
	switch t {
	case commandLogStart:
		if s.state.logStart <= s.log.LogStart() {
			return nil
		}
		reason := reasonUnknown
		if len(r.Payload) > commandLen {
			reason = reasonOf(r.Payload[commandLen])
		}
		if err := s.log.AdvanceLogStart(s.state.logStart, reason); err != nil {
			return fmt.Errorf("advance log start of %s: %w", s.dir, err)
		}
		s.startReason.Store(&reason)
	case commandExpireProducers:
		if _, err := s.log.ExpireProducers(arg); err != nil {
			return fmt.Errorf("expire producers of %s: %w", s.dir, err)
		}
	}
	return nil
}
