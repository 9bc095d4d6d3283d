package journal

import "fmt"

// fillChunk is how much is written at once to fill a slot.
const fillChunk = 1 << 20

// StartFiller fills the slots in the background, until close.
func (j *Journal) StartFiller() { j.done.Go(j.filler) }

// filler writes zeros to slots that are not as long as they will be. A sync of a write within a file is the cheapest there is;
// one that makes the file longer, or is the first in a preallocated block, waits for the file system's own journal too,
// and with it for what others sync. When it is done it has the first file of a new journal left for a filled one.
func (j *Journal) filler() {
	filled := false
	for tried := make(map[int]bool); ; {
		slot := j.takeUnfilled(tried)
		if slot < 0 {
			break
		}
		wrote, err := j.fill(slot)
		j.giveBack(slot)
		if err != nil {
			_ = j.Fail(err)
			return
		}
		filled = filled || wrote
	}
	if !filled {
		return
	}
	if err := j.leaveUnfilled(); err != nil {
		_ = j.Fail(err)
	}
}

// takeUnfilled takes a free slot that has not been tried out of the list, as if it were in use; -1 if there is none,
// or nobody wants it any more.
func (j *Journal) takeUnfilled(tried map[int]bool) int {
	j.wmu.Lock()
	defer j.wmu.Unlock()
	if j.closed || j.Failed() != nil || len(j.free) <= spareSlots {
		return -1
	}
	for i, slot := range j.free {
		if !tried[slot] {
			tried[slot] = true
			j.free = append(j.free[:i:i], j.free[i+1:]...)
			return slot
		}
	}
	return -1
}

func (j *Journal) giveBack(slot int) {
	j.wmu.Lock()
	defer j.wmu.Unlock()
	j.free = append(j.free, slot)
	j.freed.Broadcast()
}

// fill extends a slot that nobody uses to its full length. What it held before stays: it ends at its first bad frame as ever.
func (j *Journal) fill(slot int) (wrote bool, err error) {
	f, err := j.openSlot(slot)
	if err != nil {
		return false, err
	}
	at, err := f.Size()
	if err != nil {
		return false, fmt.Errorf("journal: size: %w", err)
	}
	zeros := make([]byte, min(fillChunk, max(j.size-at, 0)))
	for at < j.size && !j.closing() {
		n := min(int64(len(zeros)), j.size-at)
		if _, err := f.WriteAt(zeros[:n], at); err != nil {
			return wrote, fmt.Errorf("journal: fill: %w", err)
		}
		at, wrote = at+n, true
	}
	if !wrote {
		return false, nil
	}
	if err := f.Sync(); err != nil {
		return wrote, fmt.Errorf("journal: sync: %w", err)
	}
	return wrote, nil
}

func (j *Journal) closing() bool {
	select {
	case <-j.quit:
		return true
	default:
		return false
	}
}

// leaveUnfilled rotates if the current file is shorter than a filled one.
func (j *Journal) leaveUnfilled() error {
	j.wmu.Lock()
	defer j.wmu.Unlock()
	size, err := j.cur.file.Size()
	if err != nil {
		return fmt.Errorf("journal: size: %w", err)
	}
	if size >= j.size || j.closed || len(j.free) <= spareSlots {
		return nil
	}
	return j.rotate(spareSlots)
}
