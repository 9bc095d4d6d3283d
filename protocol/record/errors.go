package record

import "errors"

// Errors of this package. A broker answers them with the Kafka error code named in each comment.
var (
	// ErrIncomplete: the buffer ends before the batch does. CORRUPT_MESSAGE in a request; more bytes are needed in a stream.
	ErrIncomplete = errors.New("record: incomplete batch")
	// ErrMagic: the batch is not of version 2. UNSUPPORTED_FOR_MESSAGE_FORMAT or INVALID_RECORD.
	ErrMagic = errors.New("record: batch is not of version 2")
	// ErrCorrupt: an impossible length, a CRC that does not match, compressed bytes that do not decompress. CORRUPT_MESSAGE.
	ErrCorrupt = errors.New("record: corrupt batch")
	// ErrInvalid: the batch is whole, but what it says contradicts itself or is not allowed. INVALID_RECORD.
	ErrInvalid = errors.New("record: invalid batch")
	// ErrTimestampType: a producer set the attribute that only a broker may set, log append time. INVALID_TIMESTAMP.
	ErrTimestampType = errors.New("record: producer set log append time")
	// ErrCodec: the attributes name a codec that does not exist. UNSUPPORTED_COMPRESSION_TYPE.
	ErrCodec = errors.New("record: unknown compression codec")
	// ErrTooLarge: the decompressed records or the batch to be built exceed the limit. MESSAGE_TOO_LARGE.
	ErrTooLarge = errors.New("record: larger than the limit")
)
