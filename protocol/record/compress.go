package record

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// DefaultLevel asks a codec for its own default level.
const DefaultLevel = 0

const (
	maxGzipLevel = 9
	maxLZ4Level  = 9
	// xerialBlock is the size of the blocks in Java's framing of snappy.
	xerialBlock = 32 << 10
	// zstdEncoderWindow bounds the memory of an encoder; batches are rarely larger.
	zstdEncoderWindow = 1 << 20
)

// compressorPool keeps compressors of one codec by level: 0 is the default.
type compressorPool [maxGzipLevel + 1]sync.Pool

// State of compressors costs up to several MiB to make, so it is kept between batches.
//
//nolint:gochecknoglobals // pools
var (
	gzipWriters  compressorPool // *gzip.Writer
	lz4Writers   compressorPool // *lz4.Writer
	zstdEncoders compressorPool // *zstd.Encoder, by zstd.EncoderLevel
)

// compress appends src to dst, compressed. Levels are those of the codec, DefaultLevel for its default; what is beyond its
// highest means the highest.
func compress(dst, src []byte, codec Codec, level int) ([]byte, error) {
	switch codec {
	case None:
		return append(dst, src...), nil
	case Gzip:
		return gzipTo(dst, src, min(max(level, DefaultLevel), maxGzipLevel))
	case Snappy:
		return snappyTo(dst, src), nil
	case LZ4:
		return lz4To(dst, src, min(max(level, DefaultLevel), maxLZ4Level))
	case Zstd:
		return zstdTo(dst, src, level)
	default:
		return nil, fmt.Errorf("%w: %d", ErrCodec, codec)
	}
}

func gzipTo(dst, src []byte, level int) ([]byte, error) {
	out := bytes.NewBuffer(dst)
	w, ok := gzipWriters[level].Get().(*gzip.Writer)
	if ok {
		w.Reset(out)
	} else {
		at := level
		if at == DefaultLevel {
			at = gzip.DefaultCompression
		}
		var err error
		if w, err = gzip.NewWriterLevel(out, at); err != nil {
			return nil, fmt.Errorf("gzip: %w", err)
		}
	}
	defer gzipWriters[level].Put(w)
	return finish(out, w, src)
}

func lz4To(dst, src []byte, level int) ([]byte, error) {
	out := bytes.NewBuffer(dst)
	w, ok := lz4Writers[level].Get().(*lz4.Writer)
	if ok {
		w.Reset(out)
	} else {
		w = lz4.NewWriter(out)
		at := lz4.Fast
		if level > DefaultLevel {
			at = lz4.CompressionLevel(1 << (8 + level)) // lz4.Level1 to lz4.Level9
		}
		// As Java's producer frames it: blocks of 64 KiB, independent, no checksum.
		err := w.Apply(lz4.BlockSizeOption(lz4.Block64Kb), lz4.ChecksumOption(false), lz4.ConcurrencyOption(1),
			lz4.CompressionLevelOption(at))
		if err != nil {
			return nil, fmt.Errorf("lz4: %w", err)
		}
	}
	defer lz4Writers[level].Put(w)
	return finish(out, w, src)
}

// finish writes src to w, which writes to out.
func finish(out *bytes.Buffer, w io.WriteCloser, src []byte) ([]byte, error) {
	if _, err := w.Write(src); err != nil {
		return nil, fmt.Errorf("compress: %w", err)
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("compress: %w", err)
	}
	return out.Bytes(), nil
}

func zstdTo(dst, src []byte, level int) ([]byte, error) {
	at := zstd.SpeedDefault
	if level != DefaultLevel {
		at = zstd.EncoderLevelFromZstd(level)
	}
	e, ok := zstdEncoders[at].Get().(*zstd.Encoder)
	if !ok {
		var err error
		e, err = zstd.NewWriter(nil, zstd.WithEncoderLevel(at), zstd.WithEncoderConcurrency(1),
			zstd.WithEncoderCRC(false), zstd.WithWindowSize(zstdEncoderWindow))
		if err != nil {
			return nil, fmt.Errorf("zstd: %w", err)
		}
	}
	defer zstdEncoders[at].Put(e)
	return e.EncodeAll(src, dst), nil
}

// snappyTo frames blocks as Java's library (xerial) does, which every client reads.
func snappyTo(dst, src []byte) []byte {
	dst = append(dst, xerialMagic...)
	dst = append(dst, 0, 0, 0, 1, 0, 0, 0, 1) // version, and the lowest that reads it
	for len(src) > 0 {
		n := min(len(src), xerialBlock)
		at := len(dst)
		dst = grow(dst, 4+snappy.MaxEncodedLen(n))
		block := snappy.Encode(dst[at+4:cap(dst)], src[:n])
		dst = dst[:at+4+len(block)]
		binary.BigEndian.PutUint32(dst[at:], uint32(len(block)))
		src = src[n:]
	}
	return dst
}
