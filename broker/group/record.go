package group

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Record is one record of __consumer_offsets; a nil Value is a tombstone.
type Record struct{ Key, Value []byte }

// ErrRecord: a record is not what Kafka writes into __consumer_offsets.
var ErrRecord = errors.New("group: malformed record")

// Versions of keys, which say what a record is, and of the values that are written: those that every Kafka since 2.3 reads.
const (
	keyOffsetOld       = 0
	keyOffset          = 1
	keyGroup           = 2
	valueOffsetVersion = 3
	// An offset with a time of its own to expire has to be of the version that still had it.
	valueOffsetExpiring = 1
	valueGroupVersion   = 3
)

// keyVersion returns what a record is.
func keyVersion(key []byte) (int16, error) {
	if len(key) < 2 {
		return 0, fmt.Errorf("%w: key of %d bytes", ErrRecord, len(key))
	}
	return int16(binary.BigEndian.Uint16(key)), nil //nolint:gosec // signed on the wire
}

func offsetKey(group, topic string, partition int32) []byte {
	k := kmsg.OffsetCommitKey{Version: keyOffset, Group: group, Topic: topic, Partition: partition}
	return k.AppendTo(nil)
}

func offsetRecord(group, topic string, partition int32, o *offset) Record {
	v := kmsg.OffsetCommitValue{
		Version: valueOffsetVersion, Offset: o.offset, LeaderEpoch: o.leaderEpoch, Metadata: o.metadata, CommitTimestamp: o.committed,
	}
	if o.expires >= 0 {
		v.Version, v.ExpireTimestamp = valueOffsetExpiring, o.expires
	}
	return Record{Key: offsetKey(group, topic, partition), Value: v.AppendTo(nil)}
}

func groupKey(group string) []byte {
	k := kmsg.GroupMetadataKey{Version: keyGroup, Group: group}
	return k.AppendTo(nil)
}

func readOffsetKey(b []byte) (kmsg.OffsetCommitKey, error) {
	var k kmsg.OffsetCommitKey
	if err := k.ReadFrom(b); err != nil {
		return k, fmt.Errorf("%w: offset key: %w", ErrRecord, err)
	}
	return k, nil
}

func readOffsetValue(b []byte) (*offset, error) {
	var v kmsg.OffsetCommitValue
	if err := v.ReadFrom(b); err != nil {
		return nil, fmt.Errorf("%w: offset value: %w", ErrRecord, err)
	}
	o := &offset{offset: v.Offset, leaderEpoch: -1, metadata: v.Metadata, committed: v.CommitTimestamp, expires: -1}
	if v.Version >= 3 {
		o.leaderEpoch = v.LeaderEpoch
	}
	if v.Version == valueOffsetExpiring && v.ExpireTimestamp >= 0 {
		o.expires = v.ExpireTimestamp
	}
	return o, nil
}

func readGroupKey(b []byte) (string, error) {
	var k kmsg.GroupMetadataKey
	if err := k.ReadFrom(b); err != nil {
		return "", fmt.Errorf("%w: group key: %w", ErrRecord, err)
	}
	return k.Group, nil
}

func readGroupValue(b []byte) (*kmsg.GroupMetadataValue, error) {
	var v kmsg.GroupMetadataValue
	if err := v.ReadFrom(b); err != nil {
		return nil, fmt.Errorf("%w: group value: %w", ErrRecord, err)
	}
	return &v, nil
}
