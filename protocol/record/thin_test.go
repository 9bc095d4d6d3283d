package record_test

import (
	"testing"

	"github.com/stelemq/stele/protocol/record"
)

func thinned(t *testing.T, codec record.Codec, horizon int64, keep func(i int) bool) (record.Batch, record.Batch) {
	t.Helper()
	var b record.Builder
	for i := range 10 {
		b.Append(record.Record{Timestamp: 1000 + int64(i), Key: []byte{byte('a' + i)}, Value: make([]byte, 100*i), Headers: []record.Header{{Key: "h", Value: []byte("v")}}})
	}
	b.SetProducer(7, 1, 40)
	whole, err := b.Build(codec, record.DefaultLevel)
	if err != nil {
		t.Fatal(err)
	}
	data, err := whole.Decompress(nil, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	out, err := record.Thin(nil, whole, data, horizon, keep)
	if err != nil {
		t.Fatal(err)
	}
	thin, rest, err := record.Next(out)
	if err != nil || len(rest) > 0 || thin.VerifyCRC() != nil {
		t.Fatalf("%v, %d bytes left, checksum %v", err, len(rest), thin.VerifyCRC())
	}
	return whole, thin
}

func TestThin_KeepsOffsetsTimesAndSequences(t *testing.T) {
	for _, codec := range []record.Codec{record.None, record.Gzip, record.Snappy, record.LZ4, record.Zstd} {
		for _, horizon := range []int64{record.NoHorizon, 5, 1 << 42} {
			whole, thin := thinned(t, codec, horizon, func(i int) bool { return i%3 == 1 })
			if thin.Count() != 3 || thin.NextOffset() != whole.NextOffset() || thin.LastSequence() != whole.LastSequence() ||
				thin.MaxTimestamp() != 1007 || thin.Attributes().Codec() != codec || thin.Attributes().DeleteHorizon() != (horizon != record.NoHorizon) {
				t.Fatalf("%v, horizon %d: %x", codec, horizon, []byte(thin[:record.HeaderLen]))
			}
			if horizon != record.NoHorizon && thin.BaseTimestamp() != horizon {
				t.Errorf("horizon %d is %d", horizon, thin.BaseTimestamp())
			}
			i := 1
			for r, err := range thin.Records(1 << 20) {
				if err != nil || r.Offset != record.Offset(i) || r.Timestamp != 1000+int64(i) || string(r.Key) != string(rune('a'+i)) || len(r.Value) != 100*i || len(r.Headers) != 1 {
					t.Fatalf("%v, horizon %d: %+v, %v", codec, horizon, r, err)
				}
				i += 3
			}
			again, err := record.Thin(nil, thin, must(thin.Decompress(nil, 1<<20)), record.NoHorizon, func(int) bool { return true })
			if err != nil || codec == record.None && string(again) != string(thin) {
				t.Errorf("%v: keeping all changes the batch: %v", codec, err)
			}
		}
	}
}

func must(b []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return b
}

func TestGapEmptyExtend(t *testing.T) {
	whole, _ := thinned(t, record.Zstd, record.NoHorizon, func(int) bool { return true })
	empty := record.Batch(record.AppendEmpty(nil, whole))
	if empty.VerifyCRC() != nil || empty.Count() != 0 || empty.LastSequence() != whole.LastSequence() || empty.ProducerID() != 7 || empty.MaxTimestamp() != whole.MaxTimestamp() {
		t.Errorf("empty: %x", []byte(empty))
	}
	gap := record.Batch(record.AppendGap(nil, 100, 200, 9))
	if gap.VerifyCRC() != nil || gap.BaseOffset() != 100 || gap.NextOffset() != 200 || gap.LeaderEpoch() != 9 || gap.HasProducerID() || gap.LastSequence() != -1 {
		t.Errorf("gap: %x", []byte(gap))
	}
	gap.Extend(300)
	if gap.VerifyCRC() != nil || gap.NextOffset() != 300 {
		t.Errorf("extended: %x", []byte(gap))
	}
	for _, b := range []record.Batch{empty, gap} {
		for r, err := range b.Records(1 << 20) {
			t.Errorf("a record %+v, %v", r, err)
		}
	}
}
