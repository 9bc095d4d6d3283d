package record_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"math"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/stelemq/stele/protocol/record"
)

// numbered is rs with the offsets from base on.
func numbered(rs []record.Record, base record.Offset) []record.Record {
	for i := range rs {
		rs[i].Offset = base + record.Offset(i)
	}
	return rs
}

func TestRecords_WrittenByJava(t *testing.T) {
	want := numbered(samples(), 7)
	for _, codec := range codecs() {
		got, err := collect(golden(t, "java-"+codec.String()+".bin"), testLimit)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %v, got %+v", codec, err, got)
		}
	}
}

func TestBuilder_SameBytesAsJava(t *testing.T) {
	var b record.Builder
	b.SetProducer(4242, 3, math.MaxInt32-1)
	b.SetTransactional(true)
	for _, r := range samples() {
		b.Append(r)
	}
	got, err := b.Build(record.None, 0)
	if err != nil {
		t.Fatal(err)
	}
	var head [record.PatchLen]byte
	record.Patch(&head, got, 7, 9)
	if want := golden(t, "java-none.bin"); !bytes.Equal(append(head[:], got[16:]...), want) {
		t.Errorf("got\n%swant\n%s", hex.Dump(got), hex.Dump(want))
	}
}

func TestBuilder_SameMarkerAsJava(t *testing.T) {
	var b record.Builder
	b.SetProducer(4242, 3, record.NoSequence)
	b.SetTransactional(true)
	b.SetControl(true)
	b.Append(record.ControlRecord(record.ControlCommit, 5, 1700000000000))
	got, err := b.Build(record.None, 0)
	if err != nil {
		t.Fatal(err)
	}
	var head [record.PatchLen]byte
	record.Patch(&head, got, 11, 9)
	want := golden(t, "java-commit.bin")
	if !bytes.Equal(append(head[:], got[16:]...), want) {
		t.Errorf("got\n%swant\n%s", hex.Dump(got), hex.Dump(want))
	}
	if err := want.Validate(); err != nil {
		t.Error(err)
	}
	rs, err := collect(want, testLimit)
	if err != nil || len(rs) != 1 {
		t.Fatal(rs, err)
	}
	if typ, epoch, err := record.ParseControl(rs[0]); typ != record.ControlCommit || epoch != 5 || err != nil {
		t.Errorf("marker %d of epoch %d, %v", typ, epoch, err)
	}
}

func TestParseControl_Refuses(t *testing.T) {
	for _, row := range []struct {
		name       string
		key, value []byte
		ok         bool
	}{
		{"no key", nil, nil, false},
		{"short key", []byte{0, 0, 0}, nil, false},
		{"negative version", []byte{0xff, 0xff, 0, 1}, make([]byte, 6), false},
		{"commit without value", []byte{0, 0, 0, 1}, nil, false},
		{"abort with short value", []byte{0, 0, 0, 0}, make([]byte, 5), false},
		{"other type", []byte{0, 0, 0, 2}, nil, true},
		{"later version of a marker", []byte{0, 1, 0, 1, 9}, make([]byte, 8), true},
	} {
		if _, _, err := record.ParseControl(record.Record{Key: row.key, Value: row.value}); (err == nil) != row.ok {
			t.Errorf("%s: %v", row.name, err)
		}
	}
}

func TestBuilder_SameBytesAsKmsg(t *testing.T) {
	var records []byte
	first := samples()[0].Timestamp
	for i, r := range samples() {
		k := kmsg.Record{TimestampDelta64: r.Timestamp - first, OffsetDelta: int32(i), Key: r.Key, Value: r.Value}
		for _, h := range r.Headers {
			k.Headers = append(k.Headers, kmsg.Header{Key: h.Key, Value: h.Value})
		}
		body := k.AppendTo(nil)[1:] // its length, as yet 0, is one byte
		k.Length = int32(len(body))
		records = k.AppendTo(records)
	}
	b := build(t, record.None, samples()...)
	if !bytes.Equal(b.Payload(), records) {
		t.Errorf("records\n%swant\n%s", hex.Dump(b.Payload()), hex.Dump(records))
	}
	rb := kmsg.RecordBatch{
		Length: int32(49 + len(records)), PartitionLeaderEpoch: -1, Magic: 2, CRC: int32(b.CRC()), LastOffsetDelta: 4, FirstTimestamp: first,
		MaxTimestamp: first + 5, ProducerID: -1, ProducerEpoch: -1, FirstSequence: -1, NumRecords: 5, Records: records,
	}
	if !bytes.Equal(b, rb.AppendTo(nil)) {
		t.Errorf("batch differs from kmsg's")
	}
}

func TestBuilder_RoundTrip(t *testing.T) {
	rs := samples()
	for i := range 2000 {
		rs = append(rs, record.Record{Timestamp: int64(i) << (i % 50), Key: []byte{byte(i)}, Value: bytes.Repeat([]byte{byte(i), byte(i >> 3)}, i%80)})
	}
	rs = numbered(rs, 0)
	var b record.Builder
	for _, codec := range codecs() {
		for _, level := range []int{-5, 0, 1, 3, 9, 22} {
			b.Reset()
			for _, r := range rs {
				b.Append(r)
			}
			batch, err := b.Build(codec, level)
			if err != nil {
				t.Fatal(codec, level, err)
			}
			if err := batch.Validate(); err != nil {
				t.Fatal(codec, level, err)
			}
			again, err := b.Build(codec, level)
			if err != nil || !bytes.Equal(batch, again) {
				t.Fatalf("%s level %d: built twice, not the same (%v)", codec, level, err)
			}
			got, err := collect(batch, testLimit)
			if err != nil || !reflect.DeepEqual(got, rs) {
				t.Fatalf("%s level %d: records differ: %v", codec, level, err)
			}
			if codec != record.None && len(batch) > b.Len() {
				t.Errorf("%s level %d: %d bytes of %d", codec, level, len(batch), b.Len())
			}
		}
	}
}

func TestBuilder_LenIsKnownBefore(t *testing.T) {
	var b record.Builder
	for _, r := range samples() {
		most := b.LenWith(r)
		b.Append(r)
		if b.Len() > most || b.Len() < most-5 {
			t.Errorf("record takes the batch to %d bytes, foretold %d", b.Len(), most)
		}
	}
	batch, err := b.Build(record.None, 0)
	if err != nil || len(batch) != b.Len() || b.Count() != len(samples()) {
		t.Errorf("%d bytes, Len %d, Count %d, %v", len(batch), b.Len(), b.Count(), err)
	}
}

func TestBuilder_Refuses(t *testing.T) {
	var b record.Builder
	if _, err := b.Build(record.None, 0); !errors.Is(err, record.ErrInvalid) {
		t.Errorf("no records: %v", err)
	}
	b.SetTransactional(true)
	b.Append(record.Record{})
	if _, err := b.Build(record.None, 0); !errors.Is(err, record.ErrInvalid) {
		t.Errorf("transactional without producer: %v", err)
	}
	b.SetTransactional(false)
	if _, err := b.Build(5, 0); !errors.Is(err, record.ErrCodec) {
		t.Errorf("codec 5: %v", err)
	}
}

func TestParseCodec_Names(t *testing.T) {
	for _, c := range codecs() {
		if got, err := record.ParseCodec(c.String()); got != c || err != nil {
			t.Errorf("%s: %v, %v", c, got, err)
		}
	}
	if _, err := record.ParseCodec("brotli"); !errors.Is(err, record.ErrCodec) {
		t.Error(err)
	}
}

func TestRecords_LogAppendTime(t *testing.T) {
	b := with(build(t, record.None, samples()...), 22, 1<<3)
	rs, err := collect(b, testLimit)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rs {
		if r.Timestamp != b.MaxTimestamp() {
			t.Errorf("timestamp %d, want %d", r.Timestamp, b.MaxTimestamp())
		}
	}
}

// one is the payload of one record: attributes, time delta, offset delta, then body.
func one(body ...byte) []byte {
	p := append([]byte{0, 0, 0}, body...)
	return append([]byte{byte(len(p) << 1)}, p...)
}

func TestRecords_RefusesMalformed(t *testing.T) {
	head := build(t, record.None, record.Record{})
	over := bytes.Repeat([]byte{0xff}, 10)
	for _, row := range []struct {
		name    string
		payload []byte
		ok      bool
	}{
		{"null key and value", one(1, 1, 0), true},
		{"padded varint", one(0x81, 0x80, 0, 1, 0), true},
		{"nothing", nil, false},
		{"length cut", []byte{0x80}, false},
		{"length negative", []byte{1}, false},
		{"length beyond the end", []byte{40, 0, 0, 0, 1, 1, 0}, false},
		{"length zero", []byte{0}, false},
		{"length overflows", append(over[:5:5], one(1, 1, 0)...), false},
		{"bytes after the headers", one(1, 1, 0, 0), false},
		{"bytes after the last record", append(one(1, 1, 0), 0), false},
		{"a record too many", append(one(1, 1, 0), one(1, 1, 0)...), false},
		{"key length -2", one(3, 1, 0), false},
		{"key beyond the end", one(20, 1, 0), false},
		{"key length largest", one(0xfe, 0xff, 0xff, 0xff, 0x0f, 1, 0), false},
		{"key length overflows", one(0xfe, 0xff, 0xff, 0xff, 0x1f, 1, 0), false},
		{"value cut", one(1, 4, 0), false},
		{"header count missing", one(1, 1), false},
		{"header count negative", one(1, 1, 1), false},
		{"header count beyond the end", one(1, 1, 40, 0, 0), false},
		{"header count largest", one(1, 1, 0xfe, 0xff, 0xff, 0xff, 0x0f), false},
		{"header with null key", one(1, 1, 2, 1, 1), false},
		{"header with null value", one(1, 1, 2, 0, 1), true},
		{"header cut", one(1, 1, 2, 0), false},
		{"time delta overflows", append([]byte{34, 0}, append(over[:10:10], 0, 1, 1, 0)...), false},
		{"offset delta beyond the last", []byte{12, 0, 0, 2, 1, 1, 0}, false},
		{"offset delta negative", []byte{12, 0, 0, 1, 1, 1, 0}, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			_, err := collect(reseal(head, row.payload), testLimit)
			if row.ok != (err == nil) || err != nil && !errors.Is(err, record.ErrInvalid) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestRecords_RefusesOffsetsThatDoNotAscend(t *testing.T) {
	head := build(t, record.None, record.Record{}, record.Record{})
	if _, err := collect(reseal(head, append(one(1, 1, 0), one(1, 1, 0)...)), testLimit); !errors.Is(err, record.ErrInvalid) {
		t.Errorf("got %v", err)
	}
}

func TestRecords_BoundsHeaders(t *testing.T) {
	b := build(t, record.None, record.Record{Headers: make([]record.Header, 1000)})
	if _, err := collect(b, 39_000); !errors.Is(err, record.ErrTooLarge) {
		t.Errorf("got %v", err)
	}
	if _, err := collect(b, 40_000); err != nil {
		t.Errorf("got %v", err)
	}
}

func TestRecords_StopsWhenAsked(t *testing.T) {
	n := 0
	for _, err := range build(t, record.Gzip, samples()...).Records(testLimit) {
		if n++; n == 2 || err != nil {
			break
		}
	}
	if n != 2 {
		t.Error(n)
	}
}

// bomb is size zeros, compressed.
func bomb(tb testing.TB, codec record.Codec, size int) []byte {
	tb.Helper()
	var out bytes.Buffer
	zeros := make([]byte, size)
	switch codec {
	case record.Gzip:
		w := gzip.NewWriter(&out)
		_, _ = w.Write(zeros)
		_ = w.Close()
	case record.LZ4:
		w := lz4.NewWriter(&out)
		_, _ = w.Write(zeros)
		_ = w.Close()
	case record.Zstd:
		w, err := zstd.NewWriter(&out, zstd.WithWindowSize(8<<20)) // streamed: without content size
		if err != nil {
			tb.Fatal(err)
		}
		for range 64 {
			_, _ = w.Write(zeros[:size/64])
		}
		_ = w.Close()
	default:
		return snappy.Encode(nil, zeros)
	}
	return out.Bytes()
}

func TestRecords_BombsAreBounded(t *testing.T) {
	const limit, size = 1 << 20, 64 << 20
	zeros := make([]byte, size)
	single, err := zstd.NewWriter(nil, zstd.WithWindowSize(8<<20))
	if err != nil {
		t.Fatal(err)
	}
	xerial := []byte("\x82SNAPPY\x00\x00\x00\x00\x01\x00\x00\x00\x01")
	block := snappy.Encode(nil, zeros[:60<<10])
	for range size / (60 << 10) {
		xerial = append(binary.BigEndian.AppendUint32(xerial, uint32(len(block))), block...)
	}
	for _, row := range []struct {
		name    string
		codec   record.Codec
		payload []byte
	}{
		{"gzip", record.Gzip, bomb(t, record.Gzip, size)},
		{"gzip members", record.Gzip, bytes.Repeat(bomb(t, record.Gzip, 1<<16), 100)},
		{"snappy", record.Snappy, bomb(t, record.Snappy, size)},
		{"snappy xerial", record.Snappy, xerial},
		{"lz4", record.LZ4, bomb(t, record.LZ4, size)},
		{"lz4 frames", record.LZ4, bytes.Repeat(bomb(t, record.LZ4, 1<<16), 100)},
		{"zstd without content size", record.Zstd, bomb(t, record.Zstd, size)},
		{"zstd with content size", record.Zstd, single.EncodeAll(zeros, nil)},
		{"zstd frames", record.Zstd, bytes.Repeat(single.EncodeAll(zeros[:1<<16], nil), 100)},
	} {
		t.Run(row.name, func(t *testing.T) {
			b := with(reseal(build(t, record.None, samples()...), row.payload), 22, byte(row.codec))
			_, _ = collect(b, limit) // fill the pools
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := collect(b, limit)
			runtime.ReadMemStats(&after)
			if !errors.Is(err, record.ErrTooLarge) {
				t.Errorf("got %v", err)
			}
			// Buffers that double up to the limit, and for lz4 the 4 MiB blocks of a reader that is not kept.
			if used := after.TotalAlloc - before.TotalAlloc; !raceEnabled && used > 24<<20 {
				t.Errorf("%d bytes allocated for a limit of %d", used, limit)
			}
		})
	}
}

func TestDecompress_ExactLimitFits(t *testing.T) {
	for _, codec := range codecs()[1:] {
		b := with(reseal(build(t, record.None, samples()...), bomb(t, codec, 1<<20)), 22, byte(codec))
		if out, err := b.Decompress(nil, 1<<20); err != nil || len(out) != 1<<20 {
			t.Errorf("%s: %d bytes, %v", codec, len(out), err)
		}
		if _, err := b.Decompress(nil, 1<<20-1); !errors.Is(err, record.ErrTooLarge) {
			t.Errorf("%s, a byte less: %v", codec, err)
		}
	}
}

func TestDecompress_RefusesLies(t *testing.T) {
	xerial := "\x82SNAPPY\x00\x00\x00\x00\x01\x00\x00\x00\x01"
	for _, row := range []struct {
		name    string
		codec   record.Codec
		payload string
		want    error
	}{
		{"gzip empty", record.Gzip, "", record.ErrCorrupt},
		{"gzip garbage", record.Gzip, "not gzip at all", record.ErrCorrupt},
		{"gzip cut", record.Gzip, string(bomb(t, record.Gzip, 1000)[:20]), record.ErrCorrupt},
		{"gzip with bytes after it", record.Gzip, string(bomb(t, record.Gzip, 1000)) + "x", record.ErrCorrupt},
		{"snappy empty", record.Snappy, "", record.ErrCorrupt},
		{"snappy that claims 4 GiB", record.Snappy, "\xff\xff\xff\xff\x0f\x00", record.ErrCorrupt},
		{"snappy that claims 1 MiB", record.Snappy, "\x80\x80\x40\x00", record.ErrCorrupt},
		{"xerial cut in the header", record.Snappy, xerial[:10], record.ErrCorrupt},
		{"xerial cut in a length", record.Snappy, xerial + "\x00\x00", record.ErrCorrupt},
		{"xerial with a negative length", record.Snappy, xerial + "\xff\xff\xff\xff", record.ErrCorrupt},
		{"xerial with a length beyond the end", record.Snappy, xerial + "\x7f\xff\xff\xffabc", record.ErrCorrupt},
		{"lz4 garbage", record.LZ4, "not lz4 at all, really", record.ErrCorrupt},
		{"lz4 cut", record.LZ4, string(bomb(t, record.LZ4, 1000)[:20]), record.ErrCorrupt},
		{"zstd garbage", record.Zstd, "not zstd at all, really", record.ErrCorrupt},
		{"zstd cut", record.Zstd, string(bomb(t, record.Zstd, 1000)[:10]), record.ErrCorrupt},
		{"zstd window of 2 GiB", record.Zstd, "\x28\xb5\x2f\xfd\x00\xa8\x01\x00\x00", record.ErrCorrupt},
		{"zstd that claims 1 EiB", record.Zstd, "\x28\xb5\x2f\xfd\xe0\x00\x00\x00\x00\x00\x00\x00\x10\x01\x00\x00", record.ErrTooLarge},
		{"codec 6", 6, "x", record.ErrCodec},
	} {
		t.Run(row.name, func(t *testing.T) {
			b := with(reseal(build(t, record.None, samples()...), []byte(row.payload)), 22, byte(row.codec))
			if _, err := b.Decompress(nil, testLimit); !errors.Is(err, row.want) {
				t.Errorf("got %v, want %v", err, row.want)
			}
		})
	}
}

func TestDecompress_XerialStreamsJoined(t *testing.T) {
	// Two streams, each with its header and one block, as Java's reader accepts them.
	block := snappy.Encode(nil, []byte(strings.Repeat("ab", 50)))
	stream := "\x82SNAPPY\x00\x00\x00\x00\x01\x00\x00\x00\x01\x00\x00\x00" + string(rune(len(block))) + string(block)
	b := with(reseal(build(t, record.None, samples()...), []byte(stream+stream)), 22, byte(record.Snappy))
	if out, err := b.Decompress(nil, testLimit); err != nil || string(out) != strings.Repeat("ab", 100) {
		t.Errorf("%q, %v", out, err)
	}
}

func BenchmarkRecords(b *testing.B) {
	for _, codec := range codecs() {
		b.Run(codec.String(), func(b *testing.B) {
			batch := build(b, codec, samples()...)
			b.ReportAllocs()
			for b.Loop() {
				for _, err := range batch.Records(testLimit) {
					if err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}

func BenchmarkBuilder(b *testing.B) {
	for _, codec := range codecs() {
		b.Run(codec.String(), func(b *testing.B) {
			value := bytes.Repeat([]byte("a line of a log, more or less "), 8)
			var bld record.Builder
			b.ReportAllocs()
			for b.Loop() {
				bld.Reset()
				for range 64 {
					bld.Append(record.Record{Timestamp: 1700000000000, Value: value})
				}
				batch, err := bld.Build(codec, 0)
				if err != nil {
					b.Fatal(err)
				}
				b.SetBytes(int64(len(batch)))
			}
		})
	}
}
