package workload

import (
	"bytes"
	"reflect"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/stelemq/stele/protocol/record"
)

func TestBatch_IsWhatOthersRead(t *testing.T) {
	values := []int64{7, 8, 1 << 40, 9}
	b := appendBatch(nil, 3, values, sequence{1234, 5, 678}, 1_700_000_000_000)
	var foreign kmsg.RecordBatch
	if err := foreign.ReadFrom(b); err != nil {
		t.Fatal(err)
	}
	if foreign.NumRecords != 4 || foreign.LastOffsetDelta != 3 || foreign.ProducerID != 1234 || foreign.ProducerEpoch != 5 || foreign.FirstSequence != 678 {
		t.Fatalf("kmsg reads %+v", foreign)
	}
	batch, rest, err := record.Next(b)
	if err != nil || len(rest) != 0 {
		t.Fatalf("%d bytes left, %v", len(rest), err)
	}
	if err := batch.Validate(); err != nil {
		t.Fatal(err)
	}
}

func TestBatch_RoundTrip(t *testing.T) {
	b := appendBatch(nil, 3, []int64{7, 8}, sequence{-1, -1, -1}, 1)
	b = appendBatch(b, 3, []int64{9}, sequence{-1, -1, -1}, 1)
	b = append(b, appendBatch(nil, 3, []int64{10}, sequence{-1, -1, -1}, 1)[:80]...) // cut off, as a fetch may
	got, err := parseBatches(b, 3, 0)
	if err != nil {
		t.Fatal(err)
	}
	// The broker gives base offsets and epochs; here both batches begin at 0 with epoch -1.
	want := []entry{{0, -1, 7, false}, {1, -1, 8, false}, {0, -1, 9, false}}
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("got %+v, want %+v", got, want)
	}
	if got, err = parseBatches(b, 3, 1); err != nil || len(got) != 1 || got[0].value != 8 {
		t.Fatalf("from offset 1: %+v, %v", got, err)
	}
}

func TestBatch_ForeignPartitionIsDamage(t *testing.T) {
	got, err := parseBatches(appendBatch(nil, 3, []int64{7}, sequence{}, 1), 4, 0)
	if err != nil || len(got) != 1 || !got[0].damaged {
		t.Fatalf("%+v, %v", got, err)
	}
}

// TestBatch_EveryFlippedBitIsSeen: but for the base offset and epoch, which the broker writes.
func TestBatch_EveryFlippedBitIsSeen(t *testing.T) {
	good := appendBatch(nil, 3, []int64{7, 8, 9}, sequence{1, 0, 0}, 1)
	want, err := parseBatches(good, 3, 0)
	if err != nil {
		t.Fatal(err)
	}
	for i := posMagic; i < len(good); i++ {
		for bit := range 8 {
			b := bytes.Clone(good)
			b[i] ^= 1 << bit
			got, err := parseBatches(b, 3, 0)
			if err == nil && reflect.DeepEqual(got, want) {
				t.Fatalf("bit %d of byte %d was not seen", bit, i)
			}
		}
	}
}

func FuzzParseBatches(f *testing.F) {
	f.Add(appendBatch(nil, 3, []int64{7, 8, 9}, sequence{1, 0, 0}, 1))
	f.Add([]byte{})
	f.Fuzz(func(_ *testing.T, b []byte) {
		_, _ = parseBatches(b, 3, 0)
	})
}
