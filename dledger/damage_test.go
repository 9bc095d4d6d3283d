package dledger

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stelemq/stele/dledger/journal"
	"github.com/stelemq/stele/dledger/raftfile"
	"github.com/stelemq/stele/protocol/record"
)

// reports collects what Options.Damaged says.
type reports struct {
	mu  sync.Mutex
	all []PartitionSpec
}

func (r *reports) add(s PartitionSpec, _ error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, s)
}

func (r *reports) reset() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = nil
}

func (r *reports) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.all)
}

// flipFile changes one bit of a file of a stopped or running node.
func flipFile(t *testing.T, name string, at int64) {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if at < 0 {
		at += int64(len(b))
	}
	b[at] ^= 4
	f, err := os.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(b[at:at+1], at); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// damageCluster has a partition of several segments in step on three nodes.
func damageCluster(t *testing.T) (*testCluster, *reports) {
	t.Helper()
	c, r := newCluster(t, 3), &reports{}
	c.options = func(o *Options) { o.Damaged, o.reach = r.add, 4 }
	for i := range c.hosts {
		c.start(i)
	}
	c.create(16, LogConfig{SegmentBytes: 2 << 10, FlushMessages: 1, IndexIntervalBytes: 512})
	c.fill(16, 60)
	c.equal(16)
	return c, r
}

// heal does what the controller and the leader do: the old replica is dropped, another comes in its place.
func (c *testCluster) heal(shard ShardID, i int, id ReplicaID) {
	c.t.Helper()
	old := c.specs[shard]
	old.Replica = ReplicaID(i + 1)
	c.change(shard, func(ctx context.Context, p *Partition) error { return p.Remove(ctx, old.Replica) })
	if err := c.hosts[i].ReplaceDamaged(old); err != nil {
		c.t.Fatal(err)
	}
	c.add(shard, id, i)
	c.equal(shard)
	c.change(shard, func(ctx context.Context, p *Partition) error { return p.Promote(ctx, id) })
	c.fill(shard, 5)
	c.equal(shard)
	c.sameFiles(shard, i, c.leader(shard))
}

// A reader of a replica with a flipped bit gets no byte of it, nor the others a vote or an acknowledgement; they go on, and
// the replica is fetched again.
func TestDamage_FoundByAReader(t *testing.T) {
	for _, leads := range []bool{true, false} {
		for _, where := range []struct {
			name string
			at   int64
		}{{"record", record.HeaderLen + 3}, {"crc", 18}, {"base offset", 6}, {"leader epoch", 14}, {"length", 10}} {
			t.Run(fmt.Sprintf("%s, leader %v", where.name, leads), func(t *testing.T) {
				c, found := damageCluster(t)
				victim := c.leader(16)
				if !leads {
					victim = (victim + 1) % 3
				}
				p := c.partition(victim, 16)
				seg := p.shard.log.Segments()[1]
				flipFile(t, filepath.Join(p.shard.dir, fmt.Sprintf("%020d.log", seg.Base)), where.at)
				var served int
				await(t, "the damage is found", func() bool {
					b, _, err := p.Read(nil, ReadRequest{From: seg.Base, MaxBytes: 1 << 20, AtLeastOne: true})
					served += len(b)
					return errors.Is(err, ErrCorrupt)
				})
				if served > 0 {
					t.Fatalf("%d bytes were served", served)
				}
				await(t, "it is reported", func() bool { return found.count() == 1 })
				if _, _, err := p.Read(nil, ReadRequest{From: 0, MaxBytes: 1 << 20}); !errors.Is(err, ErrCorrupt) {
					t.Fatalf("a read of what is whole: %v", err)
				}
				if err := p.Append(context.Background(), &AppendRequest{Batch: batchOf(t, 1, -1, -1, -1), Acks: AcksLeader}); err == nil {
					t.Fatal("it takes a batch")
				}
				found.reset()
				c.leader(16, victim)
				c.fill(16, 5)
				// It stays out over a restart.
				specs := c.specs
				c.stop(victim)
				c.specs = nil
				c.start(victim)
				c.specs = specs
				spec := specs[16]
				spec.Replica = ReplicaID(victim + 1)
				if _, err := c.hosts[victim].StartPartition(context.Background(), spec); !errors.Is(err, ErrCorrupt) {
					t.Fatalf("it starts again: %v", err)
				}
				if found.count() != 1 {
					t.Fatalf("%d reports", found.count())
				}
				c.heal(16, victim, 9)
				if where.name != "length" { // then it is the walk to a batch that finds it
					kept, err := os.ReadDir(filepath.Join(c.dirs[victim], damagedDirName))
					if err != nil || len(kept) != 1 {
						t.Fatalf("%d damaged files are kept, %v", len(kept), err)
					}
				}
			})
		}
	}
}

// Raft reads what it sends to a replica that lags: what does not check is not sent, and the leader steps down.
func TestDamage_FoundByRaft(t *testing.T) {
	c, found := damageCluster(t)
	down := (c.leader(16) + 1) % 3
	c.stop(down)
	c.fill(16, 200)
	lead := c.leader(16)
	s := c.partition(lead, 16).shard
	seg := s.log.Segments()[len(s.log.Segments())-3]
	flipFile(t, filepath.Join(s.dir, fmt.Sprintf("%020d.log", seg.Base)), record.HeaderLen+2)
	c.start(down)
	await(t, "it is reported", func() bool { return found.count() == 1 })
	c.leader(16, lead)
	c.heal(16, lead, 9)
}

// What is found when a replica starts keeps it from starting; the others are unharmed.
func TestDamage_FoundAtTheStart(t *testing.T) {
	newest := func(dir, suffix string) string {
		es, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		out := ""
		for _, e := range es {
			if strings.HasSuffix(e.Name(), suffix) {
				out = filepath.Join(dir, e.Name())
			}
		}
		return out
	}
	for _, where := range []struct {
		name string
		file func(node string) (string, int64)
	}{
		{"replica.json", func(n string) (string, int64) { return filepath.Join(n, "t-16", replicaFileName), 100 }},
		{".raft", func(n string) (string, int64) {
			return newest(filepath.Join(n, "t-16"), ".raft"), raftfile.HeaderSize + 20
		}},
		{"last batch", func(n string) (string, int64) { return newest(filepath.Join(n, "t-16"), ".log"), -3 }},
		{"topic id", func(n string) (string, int64) { return filepath.Join(n, "t-16", "partition.metadata"), -8 }},
		{"journal", func(n string) (string, int64) {
			return newestJournal(t, n), journal.HeaderSize + journal.FrameHeaderSize + 10
		}},
	} {
		t.Run(where.name, func(t *testing.T) {
			c, found := damageCluster(t)
			victim := (c.leader(16) + 1) % 3
			specs := c.specs
			c.stop(victim)
			name, at := where.file(c.dirs[victim])
			flipFile(t, name, at)
			if where.name == "last batch" { // the producer snapshot vouches for it
				es, _ := filepath.Glob(filepath.Join(c.dirs[victim], "t-16", "*.snapshot"))
				for _, e := range es {
					if err := os.Remove(e); err != nil {
						t.Fatal(err)
					}
				}
			}
			c.specs = nil
			c.start(victim)
			c.specs = specs
			spec := specs[16]
			spec.Replica = ReplicaID(victim + 1)
			if _, err := c.hosts[victim].StartPartition(context.Background(), spec); !errors.Is(err, ErrCorrupt) && !damaged(err) {
				t.Fatalf("it starts: %v", err)
			}
			if found.count() != 1 {
				t.Fatalf("%d reports", found.count())
			}
			c.fill(16, 5)
			c.heal(16, victim, 9)
		})
	}
}

// newestJournal is the journal file with the highest sequence.
func newestJournal(t *testing.T, node string) string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(node, "journal", "*.journal"))
	if err != nil {
		t.Fatal(err)
	}
	out, newest := "", uint64(0)
	for _, n := range names {
		b, err := os.ReadFile(n)
		if err != nil {
			t.Fatal(err)
		}
		if seq := binary.LittleEndian.Uint64(b[16:]); seq > newest {
			out, newest = n, seq
		}
	}
	return out
}
