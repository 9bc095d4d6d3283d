package commitlog

import (
	"slices"
	"sync"

	"github.com/stelemq/stele/protocol/record"
)

// epochs are the leader epochs of a log and where each begins (KIP-101, Kafka's LeaderEpochFileCache).
type epochs struct {
	mu sync.RWMutex
	// mu guards:
	list    []epochEntry // Invariant: epoch and start grow strictly
	changes uint64       // grows with every change of list
}

func (c *epochs) latest() record.LeaderEpoch {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if len(c.list) == 0 {
		return record.NoEpoch
	}
	return c.list[len(c.list)-1].epoch
}

// assign notes that e begins at start, dropping entries that contradict it. It reports whether
// anything changed: within an epoch, nothing does.
func (c *epochs) assign(e record.LeaderEpoch, start record.Offset) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if k := len(c.list); k > 0 && c.list[k-1].epoch == e && start >= c.list[k-1].start {
		return false
	}
	c.list = slices.Clone(c.list) // readers of encode may hold the old one
	for k := len(c.list); k > 0 && (c.list[k-1].epoch >= e || c.list[k-1].start >= start); k-- {
		c.list = c.list[:k-1]
	}
	c.list = append(c.list, epochEntry{e, start})
	c.changes++
	return true
}

// truncateEnd drops the epochs that begin at or after end.
func (c *epochs) truncateEnd(end record.Offset) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := len(c.list)
	for k > 0 && c.list[k-1].start >= end {
		k--
	}
	if k < len(c.list) {
		c.list = slices.Clone(c.list[:k])
		c.changes++
	}
}

// truncateStart drops the epochs that end at or before start; the one that holds start begins there.
func (c *epochs) truncateStart(start record.Offset) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := 0
	for k < len(c.list) && c.list[k].start < start {
		k++
	}
	if k == 0 {
		return
	}
	kept := slices.Clone(c.list[k-1:])
	if len(kept) > 1 && kept[1].start == start {
		kept = kept[1:]
	} else {
		kept[0].start = start
	}
	c.list = kept
	c.changes++
}

// endOffset answers OffsetForLeaderEpoch as LeaderEpochFileCache.endOffsetFor does. used are the
// entries that the answer rests on.
func (c *epochs) endOffset(e record.LeaderEpoch, logEnd record.Offset) (epoch record.LeaderEpoch, end record.Offset, used []epochEntry) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	k := len(c.list)
	if e < 0 || k == 0 {
		return record.NoEpoch, record.NoOffset, nil
	}
	if last := c.list[k-1]; e >= last.epoch {
		if e > last.epoch {
			return record.NoEpoch, record.NoOffset, nil
		}
		return e, logEnd, c.list[k-1:]
	}
	i, _ := slices.BinarySearchFunc(c.list, e, func(x epochEntry, e record.LeaderEpoch) int {
		if x.epoch <= e {
			return -1
		}
		return 1
	})
	if i == 0 {
		return e, c.list[0].start, c.list[:1]
	}
	return c.list[i-1].epoch, c.list[i].start, c.list[i-1 : i+1]
}

// snapshot returns the list and its change counter. The list is not modified later.
func (c *epochs) snapshot() ([]epochEntry, uint64) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.list[:len(c.list):len(c.list)], c.changes
}

func (c *epochs) replace(list []epochEntry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.list = list
	c.changes++
}

// epochCursor tells the epoch in force at growing offsets.
type epochCursor struct {
	list []epochEntry
	i    int
}

func (c *epochs) cursor() epochCursor {
	list, _ := c.snapshot()
	return epochCursor{list: list, i: -1}
}

func (c *epochCursor) at(o record.Offset) record.LeaderEpoch {
	if c.i < 0 {
		c.i, _ = slices.BinarySearchFunc(c.list, o, func(e epochEntry, o record.Offset) int {
			if e.start <= o {
				return -1
			}
			return 1
		})
	}
	for c.i < len(c.list) && c.list[c.i].start <= o {
		c.i++
	}
	if c.i == 0 {
		return record.NoEpoch
	}
	return c.list[c.i-1].epoch
}

// around are the entries that say which epoch is in force at o.
func (c *epochs) around(o record.Offset) []epochEntry {
	cur := c.cursor()
	cur.at(o)
	return cur.list[max(cur.i-1, 0):min(cur.i+1, len(cur.list))]
}
