package record_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/stelemq/stele/protocol/record"
)

// fuzzLimit bounds decompressed records while fuzzing.
const fuzzLimit = 1 << 18

// known fails the test if err is not one of the package's errors.
func known(t *testing.T, err error) {
	t.Helper()
	for _, e := range []error{
		record.ErrIncomplete, record.ErrMagic, record.ErrCorrupt, record.ErrInvalid, record.ErrTimestampType, record.ErrCodec, record.ErrTooLarge,
	} {
		if errors.Is(err, e) {
			return
		}
	}
	t.Fatalf("an error outside the contract: %v", err)
}

// FuzzBatch cuts, checks and reads whatever comes.
func FuzzBatch(f *testing.F) {
	for _, codec := range codecs() {
		f.Add([]byte(golden(f, "java-"+codec.String()+".bin")))
		f.Add([]byte(build(f, codec, samples()...)))
	}
	f.Add([]byte(golden(f, "java-commit.bin")))
	f.Add(append(bytes.Clone(build(f, record.None, samples()...)), build(f, record.Gzip, samples()...)...))
	f.Fuzz(func(t *testing.T, p []byte) {
		for len(p) > 0 {
			b, rest, err := record.Next(p)
			if err != nil {
				known(t, err)
				return
			}
			if len(b)+len(rest) != len(p) || len(b) < record.HeaderLen {
				t.Fatalf("%d bytes cut into %d and %d", len(p), len(b), len(rest))
			}
			check(t, b)
			p = rest
		}
	})
}

func check(t *testing.T, b record.Batch) {
	t.Helper()
	if err := b.Validate(); err != nil {
		known(t, err)
	} else if b.LastOffsetDelta() != b.Count()-1 || b.VerifyCRC() != nil {
		t.Fatal("valid and yet not")
	}
	if err := b.ValidateProduced(); err != nil {
		known(t, err)
	}
	var head [record.PatchLen]byte
	record.Patch(&head, b, 1, 2)
	if record.StoredCRC(0, b, 1, 2) != record.CRC(record.CRC(0, head[:]), b[record.PatchLen:]) {
		t.Fatal("StoredCRC differs")
	}
	read(t, b)
}

// read iterates over a batch whatever its CRC.
func read(t *testing.T, b record.Batch) {
	t.Helper()
	n := int32(0)
	for r, err := range b.Records(fuzzLimit) {
		if err != nil {
			known(t, err)
			return
		}
		if r.Offset < b.BaseOffset() || r.Offset > b.LastOffset() {
			t.Fatalf("offset %d outside [%d, %d]", r.Offset, b.BaseOffset(), b.LastOffset())
		}
		_, _, _ = record.ParseControl(r)
		n++
	}
	if n != b.Count() {
		t.Fatalf("%d records of %d without an error", n, b.Count())
	}
}

// fuzzCodec reads payloads of one codec.
func fuzzCodec(f *testing.F, codec record.Codec) {
	f.Helper()
	f.Add(golden(f, "java-"+codec.String()+".bin").Payload(), int32(5))
	f.Add(build(f, codec, samples()...).Payload(), int32(5))
	f.Add(build(f, codec, samples()[0]).Payload(), int32(1))
	if codec != record.None {
		f.Add(bomb(f, codec, 1<<20), int32(1))
	}
	header := build(f, codec, samples()...)[:record.HeaderLen]
	f.Fuzz(func(t *testing.T, payload []byte, count int32) {
		b := reseal(header, payload)
		b = with(b, 57, byte(count>>24), byte(count>>16), byte(count>>8), byte(count))
		b = with(b, 23, 0, 0, 0xff, 0xff)
		if count < 0 {
			for _, err := range b.Records(fuzzLimit) {
				if err == nil {
					t.Fatal("a negative number of records was read")
				}
				known(t, err)
			}
			return
		}
		read(t, b)
		out, err := b.Decompress(nil, fuzzLimit)
		if err != nil {
			known(t, err)
		} else if codec != record.None && len(out) > fuzzLimit {
			t.Fatalf("%d bytes beyond the limit", len(out))
		}
	})
}

func FuzzRecordsNone(f *testing.F)   { fuzzCodec(f, record.None) }
func FuzzRecordsGzip(f *testing.F)   { fuzzCodec(f, record.Gzip) }
func FuzzRecordsSnappy(f *testing.F) { fuzzCodec(f, record.Snappy) }
func FuzzRecordsLZ4(f *testing.F)    { fuzzCodec(f, record.LZ4) }
func FuzzRecordsZstd(f *testing.F)   { fuzzCodec(f, record.Zstd) }

// FuzzBuilder reads back what it builds.
func FuzzBuilder(f *testing.F) {
	f.Add([]byte("key"), []byte("value"), "header", []byte("x"), int64(1700000000000), int64(-5), uint8(0))
	f.Add([]byte{}, []byte{}, "", []byte{}, int64(-1), int64(1<<62), uint8(4))
	f.Fuzz(func(t *testing.T, key, value []byte, name string, header []byte, ts, step int64, codec uint8) {
		c := record.Codec(codec % 5)
		in := []record.Record{
			{Timestamp: ts, Key: key, Value: value},
			{Offset: 1, Timestamp: ts + step, Value: value, Headers: []record.Header{{Key: name, Value: header}, {Key: name}}},
			{Offset: 2, Timestamp: ts - step, Key: key},
		}
		b := build(t, c, in...)
		if err := b.Validate(); err != nil {
			t.Fatal(err)
		}
		out, err := collect(b, 1<<26)
		if err != nil || len(out) != len(in) {
			t.Fatal(len(out), err)
		}
		for i := range in {
			same := out[i].Offset == in[i].Offset && out[i].Timestamp == in[i].Timestamp && bytes.Equal(out[i].Key, in[i].Key) &&
				bytes.Equal(out[i].Value, in[i].Value) && len(out[i].Headers) == len(in[i].Headers)
			if !same {
				t.Fatalf("record %d: %+v, want %+v", i, out[i], in[i])
			}
		}
	})
}
