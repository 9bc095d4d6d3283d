package compat

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// codecs are all compression types of Kafka.
var codecs = []string{"none", "gzip", "snappy", "lz4", "zstd"}

// header is one header of a record. Value nil is null.
type header struct {
	Key   string `json:"key"`
	Value []byte `json:"value"`
}

// record is what clients write and read here. Key and Value nil are null; Timestamp 0 means "the client's".
type record struct {
	Offset    int64    `json:"offset"`
	Timestamp int64    `json:"timestamp"` // milliseconds
	Key       []byte   `json:"key"`
	Value     []byte   `json:"value"`
	Headers   []header `json:"headers"`
}

// shape says what kinds of records a client is able to express.
type shape struct {
	text          bool // keys and values are lines of text without separators
	emptyIsNull   bool // it cannot tell empty from null
	oneHeaderSet  bool // all records carry the same headers
	noNullHeaders bool // header values are never null
	noTimestamps  bool // the client stamps the records itself
}

// firstTimestamp is the timestamp of the first generated record: recent, so that no retention touches it, and
// past, so that no later one lies in the future.
var firstTimestamp = time.Now().Add(-time.Hour).UnixMilli()

// generate makes n records of what a client with this shape can express; the seed decides about their bytes.
func generate(s shape, n int, seed uint64) []record {
	rng := rand.New(rand.NewPCG(seed, 7))
	recs := make([]record, n)
	for i := range recs {
		r := &recs[i]
		r.Key = someBytes(rng, s, 1+rng.IntN(24))
		r.Value = someBytes(rng, s, 1+rng.IntN(400))
		switch i % 8 {
		case 1:
			r.Key = nil
		case 2:
			r.Value = nil // a tombstone
		case 3:
			r.Value = bytes.Repeat([]byte("compressible "), 1+rng.IntN(300))
		case 4:
			if !s.emptyIsNull {
				r.Key, r.Value = []byte{}, []byte{}
			}
		}
		if !s.noTimestamps {
			r.Timestamp = firstTimestamp + int64(i)*10
		}
		switch {
		case s.oneHeaderSet:
			r.Headers = []header{{"origin", []byte("compat")}, {"twice", []byte("a")}, {"twice", []byte("b")}}
		case i%3 == 0:
			r.Headers = []header{{"n", fmt.Appendf(nil, "%d", i)}, {"ключ", []byte("значение")}}
			if !s.noNullHeaders {
				r.Headers = append(r.Headers, header{"null", nil})
			}
		}
	}
	return recs
}

// someBytes returns n random bytes that the shape allows.
func someBytes(rng *rand.Rand, s shape, n int) []byte {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 _-éß漢字"
	runes := []rune(letters)
	if s.text {
		var b strings.Builder
		for range n {
			b.WriteRune(runes[rng.IntN(len(runes))])
		}
		return []byte(b.String())
	}
	b := make([]byte, n)
	for i := range b {
		// 0x1e and 0x1f separate records and keys where a program needs separators.
		for b[i] = byte(rng.Uint32()); b[i] == 0x1e || b[i] == 0x1f; {
			b[i] = byte(rng.Uint32())
		}
	}
	return b
}

// mustEqual fails unless got is want, byte for byte, at dense offsets from 0. Timestamps are compared where
// want has one.
func mustEqual(t *testing.T, want, got []record) {
	t.Helper()
	if len(want) != len(got) {
		t.Fatalf("read %d records, want %d", len(got), len(want))
	}
	for i := range want {
		w, g := want[i], got[i]
		switch {
		case g.Offset != int64(i):
			t.Fatalf("record %d has offset %d", i, g.Offset)
		case !same(w.Key, g.Key):
			t.Fatalf("offset %d: key %s, want %s", i, show(g.Key), show(w.Key))
		case !same(w.Value, g.Value):
			t.Fatalf("offset %d: value %s, want %s", i, show(g.Value), show(w.Value))
		case w.Timestamp != 0 && w.Timestamp != g.Timestamp:
			t.Fatalf("offset %d: timestamp %d, want %d", i, g.Timestamp, w.Timestamp)
		case g.Timestamp <= 0:
			t.Fatalf("offset %d: no timestamp (%d)", i, g.Timestamp)
		case len(w.Headers) != len(g.Headers):
			t.Fatalf("offset %d: %d headers, want %d", i, len(g.Headers), len(w.Headers))
		}
		for j, h := range w.Headers {
			if h.Key != g.Headers[j].Key || !same(h.Value, g.Headers[j].Value) {
				t.Fatalf("offset %d header %d: %q=%s, want %q=%s", i, j, g.Headers[j].Key, show(g.Headers[j].Value), h.Key, show(h.Value))
			}
		}
	}
}

// same reports whether both are null or both hold the same bytes.
func same(a, b []byte) bool { return (a == nil) == (b == nil) && bytes.Equal(a, b) }

func show(b []byte) string {
	if b == nil {
		return "null"
	}
	if len(b) > 60 {
		return fmt.Sprintf("%q... (%d bytes)", b[:60], len(b))
	}
	return fmt.Sprintf("%q", b)
}
