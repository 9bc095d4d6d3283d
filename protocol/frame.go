package protocol

import (
	"encoding/binary"
	"fmt"
	"io"
)

const (
	// FramePrefixLen is the length of what stands before a frame: its length, an int32.
	FramePrefixLen = 4
	// MaxFrameUnauthenticated is the limit of a frame's length before authentication, as Kafka's for SASL.
	MaxFrameUnauthenticated = 512 << 10
	// DefaultMaxFrame is the limit of a frame's length otherwise, Kafka's socket.request.max.bytes.
	DefaultMaxFrame = 100 << 20

	// minRequest is the shortest request: key, version and correlation id.
	minRequest = 8
	// readStep is how much ReadFrame allocates ahead of the bytes that have arrived.
	readStep = 1 << 20
)

// FrameSize reads the length of a request's frame from the 4 bytes before it.
//
// Errors: ErrFrame (negative, shorter than a request header can be, above limit).
func FrameSize(prefix [FramePrefixLen]byte, limit int) (int, error) {
	n := int(int32(binary.BigEndian.Uint32(prefix[:])))
	switch {
	case n < minRequest:
		return 0, fmt.Errorf("%w: %d bytes", ErrFrame, n)
	case n > limit:
		return 0, fmt.Errorf("%w: %d bytes, more than %d", ErrFrame, n, limit)
	}
	return n, nil
}

// ReadFrame appends the next frame of r, without its length, to dst. It allocates as bytes arrive, not as the length claims.
// At the end of r before a frame it returns io.EOF, within one io.ErrUnexpectedEOF.
//
// Errors: ErrFrame, and r's.
func ReadFrame(dst []byte, r io.Reader, limit int) ([]byte, error) {
	var prefix [FramePrefixLen]byte
	if _, err := io.ReadFull(r, prefix[:]); err != nil {
		return dst, err //nolint:wrapcheck // io.EOF is part of the contract
	}
	n, err := FrameSize(prefix, limit)
	if err != nil {
		return dst, err
	}
	for n > 0 {
		step := min(n, max(readStep, len(dst)))
		at := len(dst)
		dst = append(dst, make([]byte, step)...)
		if m, err := io.ReadFull(r, dst[at:]); err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return dst[:at+m], err //nolint:wrapcheck // as above
		}
		n -= step
	}
	return dst, nil
}
