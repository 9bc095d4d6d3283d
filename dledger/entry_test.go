package dledger

import (
	"bytes"
	"reflect"
	"testing"
)

func sampleRecord(i Index) entryRecord {
	return entryRecord{
		index: i, term: 3, key: 77, client: clientID(3, uint32(i), false), segment: 100, base: 200, next: 210,
		pos: 4096, length: 512, crc: 0xdeadbeef, kind: kindData,
	}
}

func TestEntryRecord_RoundTrip(t *testing.T) {
	with := sampleRecord(9)
	with.kind, with.payload = kindCommand, []byte("hello")
	for _, r := range []entryRecord{sampleRecord(1), with} {
		b := r.appendTo(nil)
		if len(b) != r.encodedLen() {
			t.Fatalf("encoded %d bytes, encodedLen says %d", len(b), r.encodedLen())
		}
		got, n, err := decodeEntry(append(b, 1, 2, 3))
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
	r.kind, r.payload = kindConfig, []byte("members")
	b := r.appendTo(nil)
	for i := range (entryFixed + len(r.payload)) * 8 {
		c := bytes.Clone(b)
		c[i/8] ^= 1 << (i % 8)
		if got, _, err := decodeEntry(c); err == nil {
			t.Fatalf("bit %d: decoded %+v", i, got)
		}
	}
	for n := range entryFixed + len(r.payload) {
		if _, _, err := decodeEntry(b[:n]); err == nil {
			t.Fatalf("decoded from %d bytes", n)
		}
	}
}

func TestFence(t *testing.T) {
	type step struct {
		term    Term
		client  uint64
		accepts bool
	}
	for name, steps := range map[string][]step{
		"in order": {
			{2, clientID(2, 1, false), true},
			{2, clientID(2, 2, true), true},
			{2, clientID(2, 3, false), true},
		},
		"a term begins with sequence one": {{2, clientID(2, 2, false), false}, {2, clientID(2, 1, false), true}},
		"validated by an older leader":    {{3, clientID(2, 1, false), false}, {3, clientID(3, 1, false), true}},
		"behind a dropped proposal": {
			{2, clientID(2, 1, false), true},
			{2, clientID(2, 3, false), false},
			{2, clientID(2, 2, false), true},
			{2, clientID(2, 3, false), true},
		},
		"proposed twice": {{2, clientID(2, 1, false), true}, {2, clientID(2, 1, false), false}, {2, clientID(2, 2, false), true}},
		"a new term starts anew": {
			{2, clientID(2, 1, false), true},
			{3, clientID(3, 2, false), false},
			{3, clientID(3, 1, false), true},
		},
		"not a proposal of ours": {{2, 0, false}},
	} {
		t.Run(name, func(t *testing.T) {
			var f fence
			for i, s := range steps {
				ok, next := f.accepts(s.term, s.client)
				if ok != s.accepts {
					t.Fatalf("step %d: accepts = %v", i, ok)
				}
				f = next
			}
		})
	}
}

func TestFence_SequenceWraps(t *testing.T) {
	f := fence{Term: 2, Sequence: sequenceMask}
	if ok, _ := f.accepts(2, clientID(2, 0, false)); ok {
		t.Fatal("sequence 0 is none")
	}
	if ok, f := f.accepts(2, clientID(2, 1, false)); !ok || f.Sequence != 1 {
		t.Fatalf("after the wrap: %v %+v", ok, f)
	}
}
