package record

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

const (
	// zstdMaxWindow is the largest window of zstd at its highest level; nothing is allocated for it.
	zstdMaxWindow = 128 << 20
	// zstdBlock is the largest block of zstd.
	zstdBlock = 128 << 10
	// zstdScratch is the largest buffer that is kept with a decoder.
	zstdScratch = 512 << 10
	// zstdRatio is how much larger than compressed records are expected to be, and how a buffer grows that was too small.
	zstdRatio = 4
	// snappyMaxRatio bounds what a block of snappy can say of its own size: 3 bytes make at most 64.
	snappyMaxRatio = 22
	// minOutput is the first size of a buffer for decompressed records.
	minOutput = 4 << 10

	xerialHeaderLen = 16
	xerialMagic     = "\x82SNAPPY\x00"
)

// Decompress returns the batch's records, decompressed into dst's memory where that is large enough; without compression it
// is the payload itself, not copied. More than maxBytes is an error, whatever the bytes claim; memory stays in proportion
// to that limit.
//
// Errors: ErrCorrupt, ErrCodec, ErrTooLarge.
func (b Batch) Decompress(dst []byte, maxBytes int) ([]byte, error) {
	codec := b.Attributes().Codec()
	if codec == None {
		return b.Payload(), nil
	}
	out, err := decompress(dst[:0], b.Payload(), codec, max(maxBytes, 0))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", codec, err)
	}
	return out, nil
}

// DecompressBytes is Decompress for bytes that are no batch.
func DecompressBytes(dst, src []byte, codec Codec, maxBytes int) ([]byte, error) {
	if codec == None {
		if len(src) > maxBytes {
			return nil, tooLarge(maxBytes)
		}
		return src, nil
	}
	return decompress(dst[:0], src, codec, max(maxBytes, 0))
}

func decompress(dst, src []byte, codec Codec, maxBytes int) ([]byte, error) {
	switch codec {
	case Gzip:
		return gunzip(dst, src, maxBytes)
	case Snappy:
		return unsnappy(dst, src, maxBytes)
	case LZ4:
		return unlz4(dst, src, maxBytes)
	case Zstd:
		return unzstd(dst, src, maxBytes)
	default:
		return nil, ErrCodec
	}
}

// State of decompressors costs from 40 KiB to several MiB to make, so it is kept between batches.
//
//nolint:gochecknoglobals // pools
var (
	gzipReaders sync.Pool // *gzip.Reader
	lz4Readers  sync.Pool // *lz4.Reader
	zstdStates  sync.Pool // *zstdState
)

func corrupt(err error) error { return fmt.Errorf("%w: %v", ErrCorrupt, err) } //nolint:errorlint // codecs' errors are not part of the contract

func tooLarge(maxBytes int) error {
	return fmt.Errorf("%w: records take more than %d bytes decompressed", ErrTooLarge, maxBytes)
}

// readBounded reads all of r into dst, which is empty; at most maxBytes.
func readBounded(dst []byte, r io.Reader, maxBytes int) ([]byte, error) {
	dst = grow(dst, min(minOutput, maxBytes+1))
	for {
		n, err := r.Read(dst[len(dst):min(cap(dst), maxBytes+1)])
		dst = dst[:len(dst)+n]
		switch {
		case len(dst) > maxBytes:
			return nil, tooLarge(maxBytes)
		case errors.Is(err, io.EOF):
			return dst, nil
		case err != nil:
			return nil, corrupt(err)
		case len(dst) == cap(dst):
			dst = grow(dst, min(len(dst), maxBytes+1-len(dst)))
		}
	}
}

// grow makes room in dst for n bytes more than its length, exactly.
func grow(dst []byte, n int) []byte {
	if cap(dst)-len(dst) >= n {
		return dst
	}
	return append(make([]byte, 0, len(dst)+n), dst...)
}

func gunzip(dst, src []byte, maxBytes int) ([]byte, error) {
	r, ok := gzipReaders.Get().(*gzip.Reader)
	if !ok {
		r = new(gzip.Reader)
	}
	defer gzipReaders.Put(r)
	if err := r.Reset(bytes.NewReader(src)); err != nil {
		return nil, corrupt(err)
	}
	return readBounded(dst, r, maxBytes)
}

func unlz4(dst, src []byte, maxBytes int) ([]byte, error) {
	r, ok := lz4Readers.Get().(*lz4.Reader)
	if !ok {
		r = lz4.NewReader(nil)
		if err := r.Apply(lz4.ConcurrencyOption(1)); err != nil {
			return nil, corrupt(err)
		}
	}
	r.Reset(bytes.NewReader(src))
	out, err := readBounded(dst, r, maxBytes)
	if err != nil {
		return nil, err // its state is unknown: not kept
	}
	r.Reset(nil)
	lz4Readers.Put(r)
	return out, nil
}

// zstdState is a decoder and a buffer for what it decodes of small batches.
type zstdState struct {
	decoder *zstd.Decoder
	scratch []byte
}

func newZstdState() (*zstdState, error) {
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxWindow(zstdMaxWindow), zstd.WithDecodeAllCapLimit(true))
	if err != nil {
		return nil, fmt.Errorf("zstd: %w", err)
	}
	return &zstdState{decoder: d}, nil
}

// unzstd decodes into buffers of a known capacity, which the decoder does not exceed, and takes a larger one if that was
// too small: neither the window nor the content size of a frame, which may lie, decides how much is allocated.
func unzstd(dst, src []byte, maxBytes int) ([]byte, error) {
	z, ok := zstdStates.Get().(*zstdState)
	if !ok {
		var err error
		if z, err = newZstdState(); err != nil {
			return nil, err
		}
	}
	defer zstdStates.Put(z)
	for room := min(max(cap(dst)-zstdBlock, zstdRatio*len(src), minOutput), maxBytes); ; room = min(zstdRatio*room, maxBytes) {
		// With room for a block more, a decoder that lacks room has written more than room.
		buf := z.buffer(dst, room+zstdBlock)
		out, err := z.decoder.DecodeAll(src, buf)
		full := len(out) > room || errors.Is(err, zstd.ErrDecoderSizeExceeded)
		switch {
		case len(out) > maxBytes || full && room == maxBytes:
			return nil, tooLarge(maxBytes)
		case full && err != nil:
		case err != nil:
			return nil, corrupt(err)
		case len(out) > 0 && len(z.scratch) > 0 && &out[0] == &z.scratch[0]:
			return append(grow(dst, len(out)), out...), nil
		default:
			return out, nil
		}
	}
}

// buffer is an empty slice of capacity n: dst's memory, the scratch if n is small, or new.
func (z *zstdState) buffer(dst []byte, n int) []byte {
	switch {
	case cap(dst) >= n:
		return dst[:0:n]
	case n > zstdScratch:
		return make([]byte, 0, n)
	case len(z.scratch) < n:
		z.scratch = make([]byte, n)
	}
	return z.scratch[:0:n]
}

// unsnappy reads both forms in use: blocks framed as by Java's library (xerial), and one plain block.
func unsnappy(dst, src []byte, maxBytes int) ([]byte, error) {
	if !bytes.HasPrefix(src, []byte(xerialMagic)) {
		return unsnappyBlock(dst, src, maxBytes)
	}
	for len(src) > 0 {
		if bytes.HasPrefix(src, []byte(xerialMagic)) { // streams may be joined
			if len(src) < xerialHeaderLen {
				return nil, fmt.Errorf("%w: cut in a header", ErrCorrupt)
			}
			src = src[xerialHeaderLen:]
			continue
		}
		if len(src) < 4 {
			return nil, fmt.Errorf("%w: cut in a block's length", ErrCorrupt)
		}
		n := int64(int32(binary.BigEndian.Uint32(src)))
		src = src[4:]
		if n < 0 || n > int64(len(src)) {
			return nil, fmt.Errorf("%w: block of %d bytes, %d left", ErrCorrupt, n, len(src))
		}
		var err error
		if dst, err = unsnappyBlock(dst, src[:n], maxBytes-len(dst)); err != nil {
			return nil, err
		}
		src = src[n:]
	}
	return dst, nil
}

func unsnappyBlock(dst, src []byte, maxBytes int) ([]byte, error) {
	n, err := snappy.DecodedLen(src)
	if err != nil {
		return nil, corrupt(err)
	}
	if n > snappyMaxRatio*len(src) {
		return nil, fmt.Errorf("%w: %d bytes of %d", ErrCorrupt, n, len(src))
	}
	if n > maxBytes {
		return nil, tooLarge(maxBytes)
	}
	at := len(dst)
	if cap(dst)-at < n {
		dst = grow(dst, max(n, at)) // at least doubled, so that many small blocks are not copied each time
	}
	if _, err := snappy.Decode(dst[at:at+n], src); err != nil {
		return nil, corrupt(err)
	}
	return dst[:at+n], nil
}
