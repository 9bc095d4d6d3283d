package broker

import (
	"encoding/binary"

	"github.com/stelemq/stele/protocol/record"
)

// Positions in the header of a record batch, see package record.
const (
	batchCRC          = 17
	batchAttributes   = 21
	batchMaxTimestamp = 35

	attributeLogAppendTime = 1 << 3
)

// stampAppendTime makes millis the timestamp of all records of a batch, as message.timestamp.type=LogAppendTime
// wants it: the attribute and the largest timestamp change, the records do not, the CRC is computed anew.
func stampAppendTime(b record.Batch, millis int64) {
	attributes := binary.BigEndian.Uint16(b[batchAttributes:]) | attributeLogAppendTime
	binary.BigEndian.PutUint16(b[batchAttributes:], attributes)
	binary.BigEndian.PutUint64(b[batchMaxTimestamp:], uint64(millis)) //nolint:gosec // signed on the wire
	binary.BigEndian.PutUint32(b[batchCRC:], record.CRC(0, b[batchAttributes:]))
}
