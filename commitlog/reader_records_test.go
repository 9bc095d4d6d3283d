package commitlog_test

import (
	"testing"

	"github.com/stelemq/stele/commitlog"
	"github.com/stelemq/stele/protocol/record"
)

// A consumer that reads a compacted log from any offset with any limit gets every record that is left, and no answer without
// records but at the end.
func TestReadRecords_LeavesEmptyBatchesOut(t *testing.T) {
	stored := 0
	for seed := range uint64(10) {
		k := newKeyed(seed)
		l := create(t, k.options(newFS(t)))
		for range 200 {
			must(t, k.add(t, l))
		}
		must(t, l.Roll()) // so that the end may be empty, too
		must(t, l.Sync())
		_, err := k.clean(l, 1<<20)
		must(t, err)
		end := l.End().Next
		var left []record.Offset
		for rest := readAll(t, l, 0); len(rest) > 0; {
			var b record.Batch
			b, rest, err = record.Next(rest)
			must(t, err)
			if b.Count() == 0 {
				stored++
			}
			for r, err := range b.Records(1 << 20) {
				must(t, err)
				left = append(left, r.Offset)
			}
		}
		for _, limit := range []int{1, 100, 500, 1 << 20} {
			for _, from := range []record.Offset{0, end / 3, end - 1} {
				want := left
				for len(want) > 0 && want[0] < from {
					want = want[1:]
				}
				readRecords(t, l, from, limit, want)
			}
		}
		must(t, l.Close())
	}
	if stored < 20 {
		t.Fatalf("only %d empty batches were stored", stored)
	}
}

// readRecords reads from an offset to the end as a consumer does.
func readRecords(t *testing.T, l *commitlog.Log, from record.Offset, limit int, want []record.Offset) {
	t.Helper()
	begin, prefix := from, "what stands before"
	for end := l.End().Next; from < end; {
		out, err := l.ReadRecords([]byte(prefix), from, end, limit, true)
		must(t, err)
		if string(out[:len(prefix)]) != prefix || len(out) == len(prefix) {
			t.Fatalf("limit %d: from %d to %d nothing is read", limit, from, end)
		}
		for rest := out[len(prefix):]; len(rest) > 0; {
			var b record.Batch
			b, rest, err = record.Next(rest)
			must(t, err)
			if b.Count() == 0 && b.NextOffset() != end {
				t.Fatalf("limit %d: an empty batch of [%d, %d) of %d", limit, b.BaseOffset(), b.NextOffset(), end)
			}
			for r, err := range b.Records(1 << 20) {
				must(t, err)
				if r.Offset < begin {
					continue
				}
				if len(want) == 0 || r.Offset != want[0] {
					t.Fatalf("limit %d: offset %d is read, want %v", limit, r.Offset, want)
				}
				want = want[1:]
			}
			from = b.NextOffset()
		}
	}
	if len(want) > 0 {
		t.Fatalf("limit %d: %v are not read", limit, want)
	}
}
