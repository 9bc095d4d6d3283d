package record

import "fmt"

// Codec is how the records of a batch are compressed.
type Codec int8

// Codecs of Kafka.
const (
	None Codec = iota
	Gzip
	Snappy
	LZ4
	Zstd
)

// Known is true for the codecs that exist.
func (c Codec) Known() bool { return c >= None && c <= Zstd }

// String is Kafka's name of the codec, as in compression.type.
func (c Codec) String() string {
	switch c {
	case None:
		return "none"
	case Gzip:
		return "gzip"
	case Snappy:
		return "snappy"
	case LZ4:
		return "lz4"
	case Zstd:
		return "zstd"
	default:
		return fmt.Sprintf("codec(%d)", int8(c))
	}
}

// ParseCodec is the codec of a name, as in compression.type; "uncompressed" is none too.
//
// Errors: ErrCodec.
func ParseCodec(name string) (Codec, error) {
	if name == "uncompressed" {
		return None, nil
	}
	for c := None; c.Known(); c++ {
		if c.String() == name {
			return c, nil
		}
	}
	return None, fmt.Errorf("%w: %q", ErrCodec, name)
}
