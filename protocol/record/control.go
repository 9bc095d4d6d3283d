package record

import (
	"encoding/binary"
	"fmt"
)

// ControlType says what a record of a control batch means.
type ControlType int16

// Markers that end a transaction. Control batches may hold other types, which readers skip.
const (
	ControlAbort  ControlType = 0
	ControlCommit ControlType = 1
)

const (
	controlKeyLen   = 4 // version, type
	controlValueLen = 6 // version, coordinator epoch
)

// ControlRecord is the marker that ends a transaction, for a Builder with SetControl, SetTransactional and SetProducer.
func ControlRecord(t ControlType, coordinatorEpoch int32, timestamp int64) Record {
	key := make([]byte, controlKeyLen)
	binary.BigEndian.PutUint16(key[2:], uint16(t))
	value := make([]byte, controlValueLen)
	binary.BigEndian.PutUint32(value[2:], uint32(coordinatorEpoch))
	return Record{Timestamp: timestamp, Key: key, Value: value}
}

// ParseControl reads a record of a control batch. The coordinator's epoch is that of a marker, -1 for other types.
//
// Errors: ErrInvalid.
func ParseControl(r Record) (t ControlType, coordinatorEpoch int32, err error) {
	if len(r.Key) < controlKeyLen || int16(binary.BigEndian.Uint16(r.Key)) < 0 {
		return 0, 0, fmt.Errorf("%w: control record's key of %d bytes", ErrInvalid, len(r.Key))
	}
	t = ControlType(binary.BigEndian.Uint16(r.Key[2:]))
	if t != ControlAbort && t != ControlCommit {
		return t, -1, nil
	}
	if len(r.Value) < controlValueLen || int16(binary.BigEndian.Uint16(r.Value)) < 0 {
		return 0, 0, fmt.Errorf("%w: control record's value of %d bytes", ErrInvalid, len(r.Value))
	}
	return t, int32(binary.BigEndian.Uint32(r.Value[2:])), nil
}
