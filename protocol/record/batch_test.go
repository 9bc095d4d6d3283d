package record_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"testing"

	"github.com/stelemq/stele/protocol/record"
)

func TestNext_CutsBatches(t *testing.T) {
	a, b := build(t, record.None, samples()...), build(t, record.Zstd, samples()[:2]...)
	buf := append(bytes.Clone(a), b...)
	first, rest, err := record.Next(buf)
	if err != nil || !bytes.Equal(first, a) || cap(first) != len(first) {
		t.Fatalf("first batch: %d bytes of capacity %d, %v", len(first), cap(first), err)
	}
	second, rest, err := record.Next(rest)
	if err != nil || !bytes.Equal(second, b) || len(rest) != 0 {
		t.Fatalf("second batch: %d bytes, %d left, %v", len(second), len(rest), err)
	}
	for n := range a {
		if _, rest, err := record.Next(a[:n]); !errors.Is(err, record.ErrIncomplete) || len(rest) != n {
			t.Fatalf("%d of %d bytes: %v", n, len(a), err)
		}
	}
}

func TestNext_RefusesWhatIsNoBatch(t *testing.T) {
	good := build(t, record.None, samples()...)
	length := func(n int32) []byte { return binary.BigEndian.AppendUint32(nil, uint32(n)) }
	for _, row := range []struct {
		name string
		pos  int
		put  []byte
		want error
	}{
		{"length zero", 8, length(0), record.ErrCorrupt},
		{"length negative", 8, length(-1), record.ErrCorrupt},
		{"length smallest", 8, length(math.MinInt32), record.ErrCorrupt},
		{"length below header", 8, length(48), record.ErrCorrupt},
		{"length largest", 8, length(math.MaxInt32), record.ErrIncomplete},
		{"magic 0", 16, []byte{0}, record.ErrMagic},
		{"magic 1", 16, []byte{1}, record.ErrMagic},
		{"magic 3", 16, []byte{3}, record.ErrMagic},
		{"magic 1 and short", 8, append(length(20), 0, 0, 0, 0, 1), record.ErrMagic},
	} {
		t.Run(row.name, func(t *testing.T) {
			if _, _, err := record.Next(with(good, row.pos, row.put...)); !errors.Is(err, row.want) {
				t.Errorf("got %v, want %v", err, row.want)
			}
		})
	}
}

func TestBatch_FieldsOfJava(t *testing.T) {
	for _, codec := range codecs() {
		b := golden(t, "java-"+codec.String()+".bin")
		if err := b.Validate(); err != nil {
			t.Fatal(err)
		}
		type fields struct {
			base, last, next          record.Offset
			delta                     int32
			epoch                     record.LeaderEpoch
			codec                     record.Codec
			txn, control, logAppend   bool
			baseTime, maxTime, pid    int64
			producerEpoch             int16
			baseSequence, lastSeq, cn int32
		}
		a := b.Attributes()
		got := fields{
			b.BaseOffset(), b.LastOffset(), b.NextOffset(), b.LastOffsetDelta(), b.LeaderEpoch(), a.Codec(), a.Transactional(), a.Control(),
			a.LogAppendTime(), b.BaseTimestamp(), b.MaxTimestamp(), b.ProducerID(), b.ProducerEpoch(), b.BaseSequence(), b.LastSequence(), b.Count(),
		}
		want := fields{7, 11, 12, 4, 9, codec, true, false, false, 1700000000000, 1700000000005, 4242, 3, math.MaxInt32 - 1, 2, 5}
		if got != want {
			t.Errorf("%s: got %+v, want %+v", codec, got, want)
		}
	}
}

func TestAddSequence_Wraps(t *testing.T) {
	for _, row := range []struct{ seq, n, want int32 }{
		{0, 0, 0},
		{5, 4, 9},
		{math.MaxInt32, 0, math.MaxInt32},
		{math.MaxInt32, 1, 0},
		{math.MaxInt32 - 1, 3, 1},
		{math.MaxInt32, math.MaxInt32, math.MaxInt32 - 1},
	} {
		if got := record.AddSequence(row.seq, row.n); got != row.want {
			t.Errorf("%d + %d = %d, want %d", row.seq, row.n, got, row.want)
		}
	}
}

func TestValidate_EachRule(t *testing.T) {
	plain := build(t, record.None, samples()...)
	var bld record.Builder
	bld.SetProducer(7, 1, 40)
	for _, r := range samples() {
		bld.Append(r)
	}
	idempotent, err := bld.Build(record.Zstd, 0)
	if err != nil {
		t.Fatal(err)
	}
	ff := bytes.Repeat([]byte{0xff}, 8)
	for _, row := range []struct {
		name string
		b    record.Batch
		want error
	}{
		{"plain", plain, nil},
		{"idempotent", idempotent, nil},
		{"empty", nil, record.ErrCorrupt},
		{"short", plain[:60], record.ErrCorrupt},
		{"cut", plain[:len(plain)-1], record.ErrCorrupt},
		{"longer than it says", append(bytes.Clone(plain), 0), record.ErrCorrupt},
		{"magic 1", with(plain, 16, 1), record.ErrMagic},
		{"bit flipped in records", flip(plain, len(plain)-1), record.ErrCorrupt},
		{"bit flipped in attributes", flip(plain, 21), record.ErrCorrupt},
		{"CRC flipped", flip(plain, 17), record.ErrCorrupt},
		{"base offset and epoch are outside the CRC", flip(flip(plain, 7), 15), nil},
		{"codec 5", with(plain, 22, 5), record.ErrCodec},
		{"codec 7", with(plain, 22, 7), record.ErrCodec},
		{"no records", with(plain, 57, 0, 0, 0, 0), record.ErrInvalid},
		{"count negative", with(plain, 57, ff[:4]...), record.ErrInvalid},
		{"count above offsets", with(plain, 57, 0, 0, 0, 6), record.ErrInvalid},
		{"count below offsets", with(plain, 57, 0, 0, 0, 4), record.ErrInvalid},
		{"last offset delta negative", with(plain, 23, ff[:4]...), record.ErrInvalid},
		{"more records than bytes", with(with(plain, 57, 0, 1, 0, 0), 23, 0, 0, 0xff, 0xff), record.ErrInvalid},
		{"transactional without producer", with(plain, 22, 1<<4), record.ErrInvalid},
		{"producer without epoch", with(idempotent, 51, ff[:2]...), record.ErrInvalid},
		{"producer without sequence", with(idempotent, 53, ff[:4]...), record.ErrInvalid},
		{"no producer, so sequence does not matter", with(idempotent, 43, append(ff, 0, 1, 0xff, 0xff, 0xff, 0xf0)...), nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			if err := row.b.Validate(); !errors.Is(err, row.want) {
				t.Errorf("got %v, want %v", err, row.want)
			}
		})
	}
}

func flip(b record.Batch, pos int) record.Batch {
	c := record.Batch(bytes.Clone(b))
	c[pos] ^= 1
	return c
}

func TestValidateProduced_EachRule(t *testing.T) {
	plain := build(t, record.None, samples()...)
	for _, row := range []struct {
		name string
		b    record.Batch
		want error
	}{
		{"plain", plain, nil},
		{"control", with(plain, 22, 1<<5), record.ErrInvalid},
		{"delete horizon", with(plain, 22, 1<<6), record.ErrInvalid},
		{"base offset", with(plain, 7, 1), record.ErrInvalid},
		{"log append time", with(plain, 22, 1<<3), record.ErrTimestampType},
	} {
		t.Run(row.name, func(t *testing.T) {
			if err := row.b.ValidateProduced(); !errors.Is(err, row.want) {
				t.Errorf("got %v, want %v", err, row.want)
			}
		})
	}
}

func TestVerifyCRC_SeesEveryBit(t *testing.T) {
	b := record.Batch(bytes.Clone(build(t, record.LZ4, samples()...)))
	for pos := 17; pos < len(b); pos++ {
		for bit := range 8 {
			b[pos] ^= 1 << bit
			if b.VerifyCRC() == nil {
				t.Fatalf("bit %d of byte %d flipped and not seen", bit, pos)
			}
			b[pos] ^= 1 << bit
		}
	}
}

func TestPatch_LeavesTheBatchAlone(t *testing.T) {
	b := build(t, record.None, samples()...)
	before := bytes.Clone(b)
	var head [record.PatchLen]byte
	record.Patch(&head, b, 1<<40+5, 77)
	if !bytes.Equal(b, before) {
		t.Fatal("the batch has changed")
	}
	stored := record.Batch(append(head[:], b[record.PatchLen:]...))
	if err := stored.Validate(); err != nil {
		t.Fatal(err)
	}
	if stored.BaseOffset() != 1<<40+5 || stored.LeaderEpoch() != 77 || stored.NextOffset() != 1<<40+10 {
		t.Errorf("stored with offset %d, epoch %d, next %d", stored.BaseOffset(), stored.LeaderEpoch(), stored.NextOffset())
	}
	if got, want := record.StoredCRC(99, b, 1<<40+5, 77), record.CRC(99, stored); got != want {
		t.Errorf("StoredCRC %08x, want %08x", got, want)
	}
}

func TestStoredCRCOfValid_EqualsStoredCRC(t *testing.T) {
	for _, size := range []int{100, 8 << 10, 8<<10 + 1, 16 << 10, 100_000, 128 << 10, 1<<20 + 7} {
		b := ofSize(t, size)
		if got, want := record.StoredCRCOfValid(99, b, 1<<40+5, 77), record.StoredCRC(99, b, 1<<40+5, 77); got != want {
			t.Errorf("%d bytes: %08x, want %08x", len(b), got, want)
		}
		b[len(b)-1] ^= 1
		if len(b) > 8<<10 && record.StoredCRCOfValid(99, b, 1, 2) == record.StoredCRC(99, b, 1, 2) {
			t.Errorf("%d bytes: a bit that has flipped since is taken for right", len(b))
		}
	}
}

func TestValidatePath_AllocatesNothing(t *testing.T) {
	buf := append(bytes.Clone(ofSize(t, 16<<10)), build(t, record.Zstd, samples()...)...)
	var head [record.PatchLen]byte
	var crc uint32
	if n := testing.AllocsPerRun(100, func() {
		for rest := buf; len(rest) > 0; {
			b, more, err := record.Next(rest)
			if err != nil {
				t.Fatal(err)
			}
			if err := b.Validate(); err != nil {
				t.Fatal(err)
			}
			if err := b.ValidateProduced(); err != nil {
				t.Fatal(err)
			}
			record.Patch(&head, b, 5, 6)
			crc = record.StoredCRCOfValid(record.StoredCRC(crc, b, 5, 6), b, 5, 6)
			rest = more
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkValidate(b *testing.B) {
	for _, size := range []int{1 << 10, 16 << 10, 128 << 10, 1 << 20} {
		b.Run(sizeName(size), func(b *testing.B) {
			batch := ofSize(b, size)
			b.SetBytes(int64(len(batch)))
			b.ReportAllocs()
			for b.Loop() {
				if err := batch.Validate(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkStoredCRC(b *testing.B) {
	for _, size := range []int{1 << 10, 16 << 10, 128 << 10} {
		b.Run(sizeName(size), func(b *testing.B) {
			batch := ofSize(b, size)
			b.SetBytes(int64(len(batch)))
			b.ReportAllocs()
			for b.Loop() {
				record.StoredCRC(0, batch, 1, 2)
			}
		})
		b.Run("valid/"+sizeName(size), func(b *testing.B) {
			batch := ofSize(b, size)
			b.SetBytes(int64(len(batch)))
			for b.Loop() {
				record.StoredCRCOfValid(0, batch, 1, 2)
			}
		})
	}
}
