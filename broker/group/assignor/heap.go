package assignor

import "container/heap"

// loadHeap orders members by their load, the least first or the most first, ties by their place in the list they
// were given in. A member whose load changed is put right with fix.
type loadHeap struct {
	items []int
	rank  []int // member → place in the original list
	pos   []int // member → index in items, or nobody
	load  []int // shared with the builder
	most  bool
}

func newLoadHeap(load []int, most bool) *loadHeap {
	h := &loadHeap{load: load, most: most, rank: make([]int, len(load)), pos: make([]int, len(load))}
	for m := range h.pos {
		h.pos[m], h.rank[m] = nobody, m
	}
	return h
}

// reset fills the heap with these members.
func (h *loadHeap) reset(members []int) {
	for _, m := range h.items {
		h.pos[m] = nobody
	}
	h.items = append(h.items[:0], members...)
	for i, m := range members {
		h.rank[m], h.pos[m] = i, i
	}
	heap.Init((*heapOrder)(h))
}

func (h *loadHeap) len() int       { return len(h.items) }
func (h *loadHeap) top() int       { return h.items[0] }
func (h *loadHeap) has(m int) bool { return h.pos[m] != nobody }
func (h *loadHeap) push(m int)     { heap.Push((*heapOrder)(h), m) }
func (h *loadHeap) remove(m int)   { heap.Remove((*heapOrder)(h), h.pos[m]) }

func (h *loadHeap) fix(m int) {
	if h.has(m) {
		heap.Fix((*heapOrder)(h), h.pos[m])
	}
}

// heapOrder is loadHeap in container/heap's words.
type heapOrder loadHeap

func (h *heapOrder) Len() int { return len(h.items) }

func (h *heapOrder) Less(i, j int) bool {
	a, b := h.items[i], h.items[j]
	if h.load[a] != h.load[b] {
		return (h.load[a] < h.load[b]) != h.most
	}
	return h.rank[a] < h.rank[b]
}

func (h *heapOrder) Swap(i, j int) {
	h.items[i], h.items[j] = h.items[j], h.items[i]
	h.pos[h.items[i]], h.pos[h.items[j]] = i, j
}

func (h *heapOrder) Push(x any) {
	m, _ := x.(int)
	h.pos[m] = len(h.items)
	h.items = append(h.items, m)
}

func (h *heapOrder) Pop() any {
	last := len(h.items) - 1
	m := h.items[last]
	h.items, h.pos[m] = h.items[:last], nobody
	return m
}
