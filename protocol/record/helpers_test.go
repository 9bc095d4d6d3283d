package record_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/stelemq/stele/protocol/record"
)

const testLimit = 1 << 20

func codecs() []record.Codec {
	return []record.Codec{record.None, record.Gzip, record.Snappy, record.LZ4, record.Zstd}
}

// samples are records with all that may be null, empty or out of order.
func samples() []record.Record {
	return []record.Record{
		{Timestamp: 1700000000000, Key: []byte("key"), Value: []byte("value")},
		{Timestamp: 1700000000005, Value: []byte("v2"), Headers: []record.Header{{Key: "h1", Value: []byte("x")}, {Key: "h2"}}},
		{Timestamp: 1699999999999, Key: []byte("k3")},
		{Timestamp: 1700000000001, Key: []byte{}, Value: []byte{}},
		{Timestamp: 1700000000002, Key: []byte("k5"), Value: bytes.Repeat([]byte("z"), 300)},
	}
}

func build(tb testing.TB, codec record.Codec, rs ...record.Record) record.Batch {
	tb.Helper()
	var b record.Builder
	for _, r := range rs {
		b.Append(r)
	}
	batch, err := b.Build(codec, record.DefaultLevel)
	if err != nil {
		tb.Fatal(err)
	}
	return batch
}

func collect(b record.Batch, limit int) (all []record.Record, err error) {
	for r, err := range b.Records(limit) {
		if err != nil {
			return all, err
		}
		all = append(all, r)
	}
	return all, nil
}

// fixCRC makes the header's CRC that of the bytes.
func fixCRC(b record.Batch) record.Batch {
	binary.BigEndian.PutUint32(b[17:], record.CRC(0, b[21:]))
	return b
}

// with is a copy of b with other bytes at pos and the CRC to match.
func with(b record.Batch, pos int, p ...byte) record.Batch {
	c := record.Batch(bytes.Clone(b))
	copy(c[pos:], p)
	return fixCRC(c)
}

// reseal is the batch of b's header with another payload, its length and CRC to match.
func reseal(b record.Batch, payload []byte) record.Batch {
	c := record.Batch(append(bytes.Clone(b[:record.HeaderLen]), payload...))
	binary.BigEndian.PutUint32(c[8:], uint32(len(c)-12))
	return fixCRC(c)
}

func golden(tb testing.TB, name string) record.Batch {
	tb.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// ofSize is a batch without compression of about n bytes.
func ofSize(tb testing.TB, n int) record.Batch {
	tb.Helper()
	value := make([]byte, 1000)
	rnd := rand.NewChaCha8([32]byte{})
	var b record.Builder
	for b.Len() < n {
		if _, err := rnd.Read(value); err != nil {
			tb.Fatal(err)
		}
		b.Append(record.Record{Timestamp: 1700000000000, Value: value[:min(len(value), max(1, n-b.Len()-20))]})
	}
	batch, err := b.Build(record.None, 0)
	if err != nil {
		tb.Fatal(err)
	}
	return batch
}

func sizeName(n int) string {
	if n >= 1<<20 {
		return fmt.Sprintf("%dMiB", n>>20)
	}
	return fmt.Sprintf("%dKiB", n>>10)
}
