package dledger

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/stelemq/stele/protocol/record"
)

// retainNow has the leader look for what has expired, as the retainer would.
func (c *testCluster) retainNow(shard ShardID, now time.Time) {
	c.t.Helper()
	p := c.partition(c.leader(shard), shard)
	p.retain(context.Background(), now, true)
}

// By age the log start moves on all replicas alike, the segment being written included, and its file goes with the next entry.
func TestRetention_ByAge(t *testing.T) {
	c := newCluster(t, 3)
	for i := range c.hosts {
		c.start(i)
	}
	cfg := LogConfig{SegmentBytes: 2 << 10, FlushMessages: 1, Delete: true, RetentionAge: time.Hour, RetentionBytes: -1}
	c.create(16, cfg)
	c.fill(16, 60)
	c.equal(16)
	end := c.partition(0, 16).Offsets().LogEnd
	// The batches of the tests are of 1970: their time lies far back.
	c.retainNow(16, time.UnixMilli(1000).Add(time.Hour))
	if got := c.partition(c.leader(16), 16).Offsets().LogStart; got != 0 {
		t.Fatalf("log start %d after less than retention.ms", got)
	}
	c.retainNow(16, time.UnixMilli(1001).Add(time.Hour))
	for i := range c.hosts {
		p := c.partition(i, 16)
		await(t, "everything expires", func() bool { return p.Offsets().LogStart == end && p.Offsets().LogEnd == end })
	}
	for i, h := range c.hosts {
		p := c.partition(i, 16)
		await(t, "files go", func() bool {
			c.retainNow(16, time.UnixMilli(1001).Add(time.Hour)) // closes the segment, and once more
			h.trimSoon()
			names, err := filepath.Glob(filepath.Join(p.shard.dir, "*.log"))
			return err == nil && len(names) == 1 && p.Size() == 0
		})
		await(t, "they are counted", func() bool { return testutil.ToFloat64(h.metrics.deleted.WithLabelValues("time")) > 0 })
	}
	c.fill(16, 10)
	lead := c.partition(c.leader(16), 16)
	for i := range c.hosts {
		p := c.partition(i, 16)
		await(t, "in step", func() bool { return p.Offsets() == lead.Offsets() })
	}
}

// By size only whole closed segments go, down to the limit.
func TestRetention_BySize(t *testing.T) {
	c := newCluster(t, 1)
	c.start(0)
	cfg := LogConfig{SegmentBytes: 2 << 10, FlushMessages: 1, Delete: true, RetentionAge: -1, RetentionBytes: 6 << 10, FileDeleteDelay: time.Hour}
	c.create(16, cfg)
	c.fill(16, 100)
	p := c.partition(0, 16)
	before := p.Size()
	c.retainNow(16, time.Now())
	await(t, "segments go", func() bool {
		c.retainNow(16, time.Now())
		c.hosts[0].trimSoon()
		return first(p) > 0 && first(p) == p.Offsets().LogStart
	})
	if after := p.Size(); after < 6<<10 || after > 10<<10 || after >= before {
		t.Errorf("%d bytes of %d are left, the limit is %d", after, before, 6<<10)
	}
	kept, err := filepath.Glob(filepath.Join(p.shard.dir, "*.log.deleted"))
	if err != nil || len(kept) == 0 {
		t.Errorf("deleted files are not kept for file.delete.delay.ms: %v", err)
	}
	cfg.FileDeleteDelay = time.Nanosecond
	p.SetConfig(cfg)
	start := p.Offsets().LogStart
	c.restart(0)
	c.leader(16)
	p = c.partition(0, 16)
	if got := p.Offsets().LogStart; got != start {
		t.Errorf("log start %d after a restart, not %d", got, start)
	}
	if kept, _ := filepath.Glob(filepath.Join(p.shard.dir, "*.deleted")); len(kept) > 0 {
		t.Errorf("a start leaves %v", kept)
	}
}

func TestDeleteRecords(t *testing.T) {
	c := newCluster(t, 1)
	c.start(0)
	c.create(16, LogConfig{SegmentBytes: 2 << 10, FlushMessages: 1})
	c.fill(16, 30)
	p := c.partition(0, 16)
	end := p.Offsets().HighWatermark
	ctx := t.Context()
	if got, err := p.DeleteRecords(ctx, 10); err != nil || got != 10 {
		t.Fatalf("%d, %v", got, err)
	}
	if got, err := p.DeleteRecords(ctx, 5); err != nil || got != 10 {
		t.Fatalf("back to %d, %v", got, err)
	}
	for _, o := range []record.Offset{end + 1, -2} {
		if _, err := p.DeleteRecords(ctx, o); !errors.Is(err, ErrOffsetOutOfRange) {
			t.Errorf("%d: %v", o, err)
		}
	}
	if _, _, err := p.Read(nil, ReadRequest{From: 9, MaxBytes: 1 << 20}); !errors.Is(err, ErrOffsetOutOfRange) {
		t.Errorf("read below the log start: %v", err)
	}
	if got, err := p.DeleteRecords(ctx, -1); err != nil || got != end {
		t.Fatalf("%d, %v", got, err)
	}
}

// A clock that jumps ahead makes nothing old at once; one that is put right, or stands for long, is believed.
func TestRetentionClock(t *testing.T) {
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, row := range []struct {
		name string
		wall []int // minutes since at, one a minute
		want []bool
	}{
		{"steady", []int{0, 1, 2}, []bool{true, true, true}},
		{"ahead a year", []int{0, 525600, 525601}, []bool{true, false, false}},
		{"ahead and back", []int{0, 525600, 2}, []bool{true, false, true}},
		{"back", []int{525600, 1, 2}, []bool{true, true, true}},
		{"ahead a little", []int{0, 6, 7}, []bool{true, true, true}},
	} {
		var c retentionClock
		for i, w := range row.wall {
			if got := c.trusts(at.Add(time.Duration(w)*time.Minute), time.Duration(i)*time.Minute); got != row.want[i] {
				t.Errorf("%s: look %d: %v", row.name, i, got)
			}
		}
	}
	var c retentionClock
	c.trusts(at, 0)
	c.trusts(at.Add(1000*time.Hour), time.Minute)
	if !c.trusts(at.Add(1000*time.Hour+clockHold), time.Minute+clockHold) {
		t.Error("a clock that stood for so long is not believed")
	}
}
