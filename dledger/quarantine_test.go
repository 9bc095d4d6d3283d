package dledger

import (
	"os"
	"testing"
	"time"

	"github.com/stelemq/stele/internal/vfs"
)

// Two of three machines go down and lose what a relaxed topic had not synced. Together they are a majority, and without
// quarantine they would elect one of them and cut the third, which has everything.
func TestQuarantine_LostTailsElectNobody(t *testing.T) {
	c := newCluster(t, 3)
	for i := range c.hosts {
		c.start(i)
	}
	c.create(16, LogConfig{SegmentBytes: 1 << 20, FlushMessages: 1 << 60})
	for range 5 {
		if r := c.produce(16, batchOf(t, 1, -1, -1, -1)); r.Err != nil {
			t.Fatal(r.Err)
		}
	}
	c.equal(16)
	keeper := c.leader(16)
	var losers []int
	for i := range c.hosts {
		if i != keeper {
			losers = append(losers, i)
		}
	}
	// What the losers' disks will be found to hold.
	for _, i := range losers {
		c.stop(i)
		if err := os.CopyFS(c.dirs[i]+".then", os.DirFS(c.dirs[i])); err != nil {
			t.Fatal(err)
		}
		c.start(i)
	}
	for range 5 {
		if r := c.produce(16, batchOf(t, 1, -1, -1, -1)); r.Err != nil {
			t.Fatal(r.Err)
		}
	}
	c.equal(16)
	if c.leader(16) != keeper {
		t.Skip("the leader has moved: the copies would be of another term")
	}
	for _, i := range append([]int{keeper}, losers...) {
		c.stop(i)
	}
	for _, i := range losers {
		if err := os.RemoveAll(c.dirs[i]); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(c.dirs[i]+".then", c.dirs[i]); err != nil {
			t.Fatal(err)
		}
		if err := writeBootFile(vfs.OS{}, c.dirs[i], bootFile{BootID: "another"}); err != nil {
			t.Fatal(err)
		}
		c.start(i)
	}
	for end := time.Now().Add(2 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) { //nolint:forbidigo // nothing must happen
		for _, i := range losers {
			if l := c.partition(i, 16).Leadership(); l.IsLeader {
				t.Fatalf("node %d leads with %+v", i+1, c.partition(i, 16).Offsets())
			}
		}
	}
	c.start(keeper)
	if lead := c.leader(16); lead != keeper {
		t.Fatalf("node %d leads, node %d has everything", lead+1, keeper+1)
	}
	if hw := c.partition(keeper, 16).Offsets().HighWatermark; hw != 10 {
		t.Fatalf("high watermark %d", hw)
	}
	c.equal(16)
	for _, i := range losers {
		await(t, "the quarantine ends", func() bool { return !c.partition(i, 16).quarantined.Load() })
	}
}

func TestBootFile_TellsALostPageCache(t *testing.T) {
	for _, test := range []struct {
		name string
		file string
		boot string
		lost bool
	}{
		{"never open before", "", "a", false},
		{"process killed", `{"boot_id":"a","clean":false}`, "a", false},
		{"closed, then the machine started anew", `{"boot_id":"a","clean":true}`, "b", false},
		{"machine went down", `{"boot_id":"a","clean":false}`, "b", true},
		{"machine that has no boot id", `{"boot_id":"","clean":false}`, "", true},
		{"torn file", `{"boot_`, "a", true},
	} {
		t.Run(test.name, func(t *testing.T) {
			fsys := vfs.NewMem()
			if err := fsys.MkdirAll("/d"); err != nil {
				t.Fatal(err)
			}
			if test.file != "" {
				if err := vfs.WriteFileAtomic(fsys, "/d", bootFileName, []byte(test.file)); err != nil {
					t.Fatal(err)
				}
			}
			lost, err := lostPageCache(fsys, "/d", test.boot)
			if err != nil || lost != test.lost {
				t.Fatalf("%v, %v", lost, err)
			}
		})
	}
}
