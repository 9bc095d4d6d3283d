package raftfile

import (
	"bytes"
	"reflect"
	"testing"
)

func sampleRecord(i Index) Entry {
	return Entry{
		Index: i, Term: 3, Key: 77, Client: 3<<32 | uint64(i), Segment: 100, Base: 200, Next: 210,
		Pos: 4096, Length: 512, CRC: 0xdeadbeef, Kind: KindData,
	}
}

func TestEntryRecord_RoundTrip(t *testing.T) {
	with := sampleRecord(9)
	with.Kind, with.Payload = KindCommand, []byte("hello")
	for _, r := range []Entry{sampleRecord(1), with} {
		b := r.AppendTo(nil)
		if len(b) != r.EncodedLen() {
			t.Fatalf("encoded %d bytes, EncodedLen says %d", len(b), r.EncodedLen())
		}
		got, n, err := Decode(append(b, 1, 2, 3))
		if err != nil || n != len(b) {
			t.Fatalf("decode: %v, %d of %d bytes", err, n, len(b))
		}
		if !reflect.DeepEqual(got, r) {
			t.Fatalf("got %+v, want %+v", got, r)
		}
	}
}

func TestEntryRecord_EveryFlippedBitIsFound(t *testing.T) {
	r := sampleRecord(5)
	r.Kind, r.Payload = KindConfig, []byte("members")
	b := r.AppendTo(nil)
	for i := range (EntryFixed + len(r.Payload)) * 8 {
		c := bytes.Clone(b)
		c[i/8] ^= 1 << (i % 8)
		if got, _, err := Decode(c); err == nil {
			t.Fatalf("bit %d: decoded %+v", i, got)
		}
	}
	for n := range EntryFixed + len(r.Payload) {
		if _, _, err := Decode(b[:n]); err == nil {
			t.Fatalf("decoded from %d bytes", n)
		}
	}
}
