package broker

import (
	"math/bits"
	"sync"
	"sync/atomic"
)

// Size classes of pooled buffers are powers of two between these; larger ones are left to the garbage
// collector.
const (
	minClass = 12 // 4 KiB
	maxClass = 24 // 16 MiB: a request with batches of a megabyte for several partitions
)

// poison overwrites buffers that go back to their pool (race and invariants builds), so that whoever
// still reads one is found out.
const poison = 0xdb

// bufferPool keeps buffers by size class.
type bufferPool struct {
	classes [maxClass + 1]sync.Pool
}

// buffer is a pooled byte slice with one owner at a time, who releases it: a slot, until its answer is
// written and, for Produce, every append has been answered (produceCall counts them).
type buffer struct {
	b     []byte
	out   atomic.Bool // not in the pool
	class int         // 0: not pooled
	lost  atomic.Bool
	pool  *bufferPool
}

// get returns a buffer of n bytes; its contents are undefined.
func (p *bufferPool) get(n int) *buffer {
	if buf := p.used(n); buf != nil {
		return buf
	}
	class := classOf(n)
	buf := &buffer{pool: p}
	if class > maxClass {
		buf.b = make([]byte, n)
	} else {
		buf.b, buf.class = make([]byte, 1<<class)[:n], class
	}
	buf.out.Store(true)
	return buf
}

// used returns a buffer of n bytes that was used before, nil where there is none: it takes no new memory.
func (p *bufferPool) used(n int) *buffer {
	class := classOf(n)
	if class > maxClass {
		return nil
	}
	buf, _ := p.classes[class].Get().(*buffer)
	if buf == nil {
		return nil
	}
	buf.b = buf.b[:n]
	buf.out.Store(true)
	return buf
}

func classOf(n int) int { return max(minClass, bits.Len(uint(max(n, 1)-1))) } //nolint:gosec // not negative

// abandon keeps the bytes out of the pool for ever: somebody may still read them.
func (b *buffer) abandon() { b.lost.Store(true) }

// release gives the buffer back.
func (b *buffer) release() {
	if !b.out.Swap(false) {
		panic("broker: buffer released twice")
	}
	if b.class == 0 || b.lost.Load() {
		return
	}
	b.b = b.b[:cap(b.b)]
	if checked {
		for i := range b.b {
			b.b[i] = poison
		}
	}
	b.pool.classes[b.class].Put(b)
}

// fill makes p, which was appended to b.b[:0], the buffer's bytes; they may have moved.
func (b *buffer) fill(p []byte) {
	if cap(p) != cap(b.b) {
		b.class = 0 // the garbage collector's from now on
	}
	b.b = p
}
