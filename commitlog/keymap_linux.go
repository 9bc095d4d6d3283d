package commitlog

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// allocateSlots maps memory outside the heap: it would make the collector let the heap grow by as much again, and it goes
// back to the system as soon as it is freed.
func allocateSlots(n int64) ([]keySlot, func(), error) {
	b, err := unix.Mmap(-1, 0, int(n*keySlotBytes), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return nil, nil, fmt.Errorf("memory for keys: %w", err)
	}
	free := func() { _ = unix.Munmap(b) } // it was mapped; nothing is left to be done
	return unsafe.Slice((*keySlot)(unsafe.Pointer(unsafe.SliceData(b))), n), free, nil
}
