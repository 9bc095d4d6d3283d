package brokertest_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stelemq/stele/broker/brokertest"
	"github.com/stelemq/stele/protocol"
)

// A bit flips in a follower's segment while it is down. The replica is replaced by a new one, fetched from the others, and
// what was damaged is kept.
func TestCluster_ADamagedReplicaIsReplaced(t *testing.T) {
	c := brokertest.StartCluster(t, 3, brokertest.Options{})
	one := dialAddress(t, c.Addresses()[0])
	createTopic(t, one, "t", 1, 3)
	leader := describe(one, "t").Partitions[0].Leader
	p := dialAddress(t, c.Addresses()[leader-1])
	for i := range int64(50) {
		p.want(-1, 1, protocol.None, i)
	}
	eventually(t, "all are in sync", func() bool { return len(describe(p, "t").Partitions[0].ISR) == 3 })
	victim := leader%3 + 1
	_, part := partitionOf(t, c.Node(leader), "t")
	before, _ := part.ReplicaOn(victim)
	dir := c.Node(victim).Dir
	c.Stop(victim)
	name := filepath.Join(dir, "t-0", "00000000000000000000.log")
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 4
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
	c.Start(victim)
	eventually(t, "a new replica is in sync", func() bool {
		_, part := partitionOf(t, c.Node(leader), "t")
		now, ok := part.ReplicaOn(victim)
		return ok && now.ID > before.ID && slices.Contains(describe(p, "t").Partitions[0].ISR, victim) && len(part.Replicas) == 3
	})
	kept, err := os.ReadDir(filepath.Join(dir, "damaged"))
	if err != nil || len(kept) != 1 {
		t.Fatalf("damaged files kept: %v, %v", kept, err)
	}
	p.want(-1, 1, protocol.None, 50)
	segment := func(node int32) string {
		b, err := os.ReadFile(filepath.Join(c.Node(node).Dir, "t-0", "00000000000000000000.log"))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	eventually(t, "its bytes are the leader's", func() bool { return segment(victim) == segment(leader) })
}
