package dledger

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stelemq/stele/internal/vfs"
)

// slowFS takes its time to sync the journal.
type slowFS struct {
	vfs.FS
	delay *atomic.Int64
}

type slowFile struct {
	vfs.File
	delay *atomic.Int64
}

func (s slowFS) Open(name string) (vfs.File, error)   { return s.wrap(s.FS.Open(name)) }
func (s slowFS) Create(name string) (vfs.File, error) { return s.wrap(s.FS.Create(name)) }
func (s slowFS) wrap(f vfs.File, err error) (vfs.File, error) {
	if err != nil || !strings.HasSuffix(f.Name(), ".journal") {
		return f, err
	}
	return slowFile{f, s.delay}, nil
}

func (f slowFile) Sync() error {
	time.Sleep(time.Duration(f.delay.Load())) //nolint:forbidigo // the disk's, not the test's
	return f.File.Sync()
}

// Disks whose syncs take longer than an election timeout cause no elections, wherever they are; one that does not come back
// for long costs its node the leadership.
func TestStandIn_SlowDisksCauseNoElections(t *testing.T) {
	var delays [3]atomic.Int64
	c := newCluster(t, 3)
	c.options = func(o *Options) { o.FS = slowFS{vfs.OS{}, &delays[o.NodeID-1]} }
	for i := range c.hosts {
		c.start(i)
	}
	c.create(16, LogConfig{SegmentBytes: 1 << 20, FlushMessages: 1})
	c.produce(16, batchOf(t, 1, -1, -1, -1))
	c.equal(16)
	lead := c.leader(16)
	p := c.partition(lead, 16)
	epoch := p.Leadership().Epoch
	const slow = 450 * time.Millisecond
	for name, nodes := range map[string][]int{"leader": {lead}, "followers": {(lead + 1) % 3, (lead + 2) % 3}, "all": {0, 1, 2}} {
		for i := range delays {
			delays[i].Store(0)
		}
		for _, i := range nodes {
			delays[i].Store(int64(slow))
		}
		for range 4 {
			if r := appendWait(t, p, batchOf(t, 1, -1, -1, -1)); r.Err != nil {
				t.Fatalf("slow: %s: %+v", name, r)
			}
		}
		if l := p.Leadership(); !l.IsLeader || l.Epoch != epoch {
			t.Fatalf("slow: %s: another leader, epoch %d after %d", name, l.Epoch, epoch)
		}
	}
	for i := range delays {
		delays[i].Store(0)
	}
	delays[lead].Store(int64(4 * time.Second))
	go appendWait(t, p, batchOf(t, 1, -1, -1, -1))
	next := c.leader(16, lead)
	if e := c.partition(next, 16).Leadership().Epoch; e <= epoch {
		t.Fatalf("epoch %d after %d", e, epoch)
	}
	delays[lead].Store(0)
	c.equal(16)
}
