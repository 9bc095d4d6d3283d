package broker

import (
	"testing"
	"time"

	"github.com/stelemq/stele/broker/metadata"
	"github.com/stelemq/stele/protocol/record"
)

func saying(sequence uint64, full bool, parts ...announced) *announcement {
	return &announcement{Incarnation: "a", Sequence: sequence, Full: full, Partitions: parts}
}

func leads(shard metadata.ShardID, node int32, epoch record.LeaderEpoch) announced {
	return announced{Shard: shard, Leader: node, Epoch: epoch, ISR: []int32{node}}
}

func TestLeaderTable_TheNewestEpochWins(t *testing.T) {
	table := newLeaderTable(time.Now)
	is := func(shard metadata.ShardID, node int32, epoch record.LeaderEpoch) {
		t.Helper()
		a := table.get(shard)
		if a == nil || a.Leader != node || a.Epoch != epoch {
			t.Errorf("shard %d: %+v, want leader %d in epoch %d", shard, a, node, epoch)
		}
	}
	table.take(1, saying(1, true, leads(16, 1, 5), leads(17, 1, 3)))
	table.take(2, saying(1, true, leads(16, 2, 4)))
	is(16, 1, 5)
	table.take(2, saying(2, false, leads(16, 2, 6)))
	is(16, 2, 6)
	table.take(1, saying(2, false, leads(16, -1, 5))) // the old leader notices late
	is(16, 2, 6)
	table.take(2, saying(3, false, leads(16, -1, 6)))
	is(16, -1, 6)
	table.take(1, saying(3, true)) // names 17 no more
	is(17, -1, 3)
	table.take(3, saying(1, true, leads(17, 2, 9))) // nobody speaks for another
	is(17, -1, 3)
}

func TestLeaderTable_AsksAgainForWhatWasLost(t *testing.T) {
	table := newLeaderTable(time.Now)
	if _, again, up := table.take(1, saying(1, false, leads(16, 1, 1))); again || !up {
		t.Error("the first one")
	}
	if _, again, up := table.take(1, saying(3, false)); !again || up {
		t.Error("a gap")
	}
	if changed, again, _ := table.take(1, saying(2, false, leads(16, 1, 9))); changed || again || table.get(16).Epoch != 1 {
		t.Error("one that was overtaken counts")
	}
	if _, again, _ := table.take(1, saying(9, true, leads(16, 1, 2))); again {
		t.Error("a full one behind a gap")
	}
	restarted := saying(1, true)
	restarted.Incarnation = "b"
	if changed, _, up := table.take(1, restarted); !changed || !up || table.get(16).Leader != -1 {
		t.Error("a restart ends what was led before")
	}
}

func TestLeaderTable_ForgetsWhatIsDeleted(t *testing.T) {
	now := time.Now()
	table := newLeaderTable(func() time.Time { return now })
	table.take(1, saying(1, true, leads(16, 1, 1)))
	image := metadata.NewMachine().Image()
	if table.prune(image); table.get(16) == nil {
		t.Error("forgotten before the metadata can know it")
	}
	now = now.Add(announcedKeep + time.Second)
	if table.prune(image); table.get(16) != nil {
		t.Error("kept for ever")
	}
}

// A replica that leaves its node takes what it knew of the newest epoch with it into the table: what was announced may be
// older, and Metadata must not go back to it.
func TestLeaderTable_RemembersWhatAReplicaKnew(t *testing.T) {
	table := newLeaderTable(time.Now)
	is := func(node int32, epoch record.LeaderEpoch) {
		t.Helper()
		if a := table.get(16); a == nil || a.Leader != node || a.Epoch != epoch {
			t.Errorf("%+v, want leader %d in epoch %d", a, node, epoch)
		}
	}
	table.take(1, saying(1, true, leads(16, 1, 5)))
	table.remember(16, 6, 7) // it led itself, on node 7
	is(-1, 6)
	table.remember(16, 4, 7)
	is(-1, 6)
	table.take(2, saying(1, true, leads(16, 2, 6))) // it only believed to
	is(2, 6)
	table.remember(16, 6, 7)
	is(2, 6)
	table.remember(17, -1, 7)
	if table.get(17) != nil {
		t.Error("nothing was known of 17")
	}
}
