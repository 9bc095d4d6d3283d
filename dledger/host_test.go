package dledger

import (
	"encoding/binary"
	"errors"
	"os"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/stelemq/stele/dledger/raftfile"
	"github.com/stelemq/stele/protocol/record"
)

func TestMain(m *testing.M) {
	// dragonboat's logger registry and its timers live as long as the process.
	goleak.VerifyTestMain(m)
}

// batchOf builds a batch of n records, optionally of an idempotent producer.
func batchOf(tb testing.TB, n int, pid int64, epoch int16, seq int32) record.Batch {
	tb.Helper()
	b := make([]byte, record.HeaderLen+20*n)
	putTestHeader(b, n)
	be := binary.BigEndian
	be.PutUint64(b[43:], uint64(pid))
	be.PutUint16(b[51:], uint16(epoch))
	be.PutUint32(b[53:], uint32(seq))
	putTestCRC(b)
	return b
}

func putTestCRC(b []byte) { binary.BigEndian.PutUint32(b[17:], raftfile.Castagnoli(0, b[21:])) }

func putTestHeader(b []byte, n int) {
	be := binary.BigEndian
	be.PutUint32(b[8:], uint32(len(b)-12))
	b[16] = 2
	be.PutUint32(b[23:], uint32(n-1))
	be.PutUint64(b[27:], 1000)
	be.PutUint64(b[35:], 1000)
	be.PutUint32(b[57:], uint32(n))
}

func TestHost_AppendReadRestart(t *testing.T) {
	dir := t.TempDir()
	h, ps := startHost(t, dir, 3, 1, Options{})
	for i := range 50 {
		for k, p := range ps {
			r := appendWait(t, p, batchOf(t, k+1, -1, -1, -1))
			if r.Err != nil || r.BaseOffset != record.Offset(i*(k+1)) {
				t.Fatalf("append %d to %d: %+v", i, k, r)
			}
		}
	}
	before := ps[1].Leadership().Epoch
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	h, ps = startHost(t, dir, 3, 1, Options{})
	defer closeHost(t, h)
	if e := ps[1].Leadership().Epoch; e <= before {
		t.Fatalf("epoch %d after %d", e, before)
	}
	for k, p := range ps {
		off := p.Offsets()
		if want := record.Offset(50 * (k + 1)); off.HighWatermark != want || off.LogEnd != want {
			t.Fatalf("partition %d: %+v, want %d", k, off, want)
		}
		b, _, err := p.Read(nil, ReadRequest{From: 0, MaxBytes: 1 << 20})
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for len(b) > 0 {
			var batch record.Batch
			if batch, b, err = record.Next(b); err != nil {
				t.Fatal(err)
			}
			if want := record.Offset(n * (k + 1)); batch.BaseOffset() != want {
				t.Fatalf("batch %d at %d", n, batch.BaseOffset())
			}
			n++
		}
		if n != 50 {
			t.Fatalf("%d batches read", n)
		}
	}
}

func closeHost(t *testing.T, h *Host) {
	t.Helper()
	if err := h.Close(); err != nil {
		t.Error(err)
	}
}

// The directory as a killed process leaves it: everything written is there, nothing was closed.
func TestHost_KilledWhileAppending(t *testing.T) {
	for _, flush := range []int64{1, 1 << 60} {
		dir := t.TempDir()
		h, ps := startHost(t, dir, 4, flush, Options{})
		var mu sync.Mutex
		acked := make([]record.Offset, len(ps))
		stop := make(chan struct{})
		var wg sync.WaitGroup
		for i, p := range ps {
			wg.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
					}
					mu.Lock()
					r := appendWait(t, p, batchOf(t, 3, -1, -1, -1))
					if r.Err == nil {
						acked[i] = r.BaseOffset + 3
					}
					mu.Unlock()
				}
			})
		}
		for range 5 {
			time.Sleep(30 * time.Millisecond) //nolint:forbidigo // lets appends happen; nothing depends on how many
			image := t.TempDir()
			mu.Lock() // no append is in progress, yet nothing has been closed
			want := append([]record.Offset(nil), acked...)
			if err := os.CopyFS(image, os.DirFS(dir)); err != nil {
				t.Fatal(err)
			}
			mu.Unlock()
			h2, ps2 := startHost(t, image, 4, flush, Options{})
			for i, p := range ps2 {
				if hw := p.Offsets().HighWatermark; hw != want[i] {
					t.Errorf("partition %d: high watermark %d, acknowledged %d", i, hw, want[i])
				}
			}
			closeHost(t, h2)
		}
		close(stop)
		wg.Wait()
		closeHost(t, h)
	}
}

func TestPartition_IdempotentProducer(t *testing.T) {
	dir := t.TempDir()
	h, ps := startHost(t, dir, 1, 1, Options{})
	p := ps[0]
	send := func(epoch int16, seq int32) AppendResult { return appendWait(t, p, batchOf(t, 2, 7, epoch, seq)) }
	want := func(what string, r AppendResult, base record.Offset, err error) {
		t.Helper()
		if !errors.Is(r.Err, err) || (err == nil && r.BaseOffset != base) {
			t.Fatalf("%s: %+v, want offset %d, error %v", what, r, base, err)
		}
	}
	for i := range int32(8) {
		want("in order", send(0, 2*i), record.Offset(2*i), nil)
	}
	want("repeated", send(0, 14), 14, nil)
	want("repeated, five back", send(0, 6), 6, nil)
	want("repeated, too far back", send(0, 0), 0, ErrDuplicateSequence)
	want("gap", send(0, 20), 0, ErrOutOfOrderSequence)
	want("new epoch", send(1, 0), 16, nil)
	want("old epoch", send(0, 16), 0, ErrInvalidProducerEpoch)
	want("new epoch, not from zero", send(2, 5), 0, ErrOutOfOrderSequence)
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	h, ps = startHost(t, dir, 1, 1, Options{})
	defer closeHost(t, h)
	p = ps[0]
	want("repeated after a restart", send(1, 0), 16, nil)
	want("continued after a restart", send(1, 2), 18, nil)
}

// Five batches in flight, each sent twice: the second is answered with the first's offset and not stored.
func TestPartition_DuplicatesInFlight(t *testing.T) {
	h, ps := startHost(t, t.TempDir(), 1, 1, Options{})
	defer closeHost(t, h)
	p := ps[0]
	type answer struct {
		seq int32
		res AppendResult
	}
	answers := make(chan answer, 1000)
	for seq := range int32(100) {
		for range 2 {
			err := p.Append(t.Context(), &AppendRequest{
				Batch: batchOf(t, 1, 9, 0, seq), Acks: AcksAll, Timeout: 10 * time.Second,
				Done: func(r AppendResult) { answers <- answer{seq, r} },
			})
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	for range 200 {
		a := <-answers
		if a.res.Err != nil || a.res.BaseOffset != record.Offset(a.seq) {
			t.Fatalf("sequence %d: %+v", a.seq, a.res)
		}
	}
	if off := p.Offsets(); off.LogEnd != 100 {
		t.Fatalf("%+v", off)
	}
}

func TestHost_DeletedPartitionLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	h, ps := startHost(t, dir, 1, 1, Options{})
	defer closeHost(t, h)
	if r := appendWait(t, ps[0], batchOf(t, 1, -1, -1, -1)); r.Err != nil {
		t.Fatal(r.Err)
	}
	spec := ps[0].Spec()
	if err := h.DeletePartition(spec); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir + "/bench-0"); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("directory: %v", err)
	}
	spec.Shard = 99
	p, err := h.StartPartition(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	awaitLeader(t, p)
	if off := p.Offsets(); off.LogEnd != 0 {
		t.Fatalf("the new partition begins with %+v", off)
	}
}

func TestPartition_LogStartMovesByCommandAndStays(t *testing.T) {
	dir := t.TempDir()
	h, ps := startHost(t, dir, 1, 1, Options{})
	for range 10 {
		appendWait(t, ps[0], batchOf(t, 1, -1, -1, -1))
	}
	if err := ps[0].AdvanceLogStart(t.Context(), 6); err != nil {
		t.Fatal(err)
	}
	if err := ps[0].AdvanceLogStart(t.Context(), 11); !errors.Is(err, ErrOffsetOutOfRange) {
		t.Fatalf("beyond the high watermark: %v", err)
	}
	closeHost(t, h)
	h, ps = startHost(t, dir, 1, 1, Options{})
	defer closeHost(t, h)
	if off := ps[0].Offsets(); off.LogStart != 6 || off.LogEnd != 10 {
		t.Fatalf("%+v", off)
	}
	if _, _, err := ps[0].Read(nil, ReadRequest{From: 5, MaxBytes: 1000}); !errors.Is(err, ErrOffsetOutOfRange) {
		t.Fatalf("read below the log start: %v", err)
	}
}
