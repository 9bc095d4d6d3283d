package broker

import (
	"container/list"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/stelemq/stele/broker/metadata"
	"github.com/stelemq/stele/protocol"
)

const (
	// sessionIdle is how long a session must rest before another may take its place.
	sessionIdle = 2 * time.Minute
	// sessionPartitions bounds the partitions that all sessions remember.
	sessionPartitions = 1_000_000

	sessionNone = int32(0)
	// epochFinal ends a session, or asks for none; epochInitial begins one.
	epochFinal   = int32(-1)
	epochInitial = int32(0)
)

// fetchKey names a partition in a request: by id from v13 on, by name before.
type fetchKey struct {
	id    metadata.TopicID
	name  string
	index int32
}

// fetchWant is what a client wants of a partition.
type fetchWant struct {
	key              fetchKey
	offset           int64
	currentEpoch     int32
	lastFetchedEpoch int32
	maxBytes         int32
}

// sessionPartition is a partition that a session remembers.
type sessionPartition struct {
	want fetchWant
	// What the client was last told; -1 where it must be told again.
	highWatermark, logStart int64
}

// fetchSession remembers what a client fetches, so that it need not repeat it (KIP-227).
type fetchSession struct {
	id     int32
	useIDs bool

	mu         sync.Mutex
	epoch      int32                      // mu guards: of the next request
	partitions map[fetchKey]*list.Element // mu guards
	order      *list.List                 // mu guards: of *sessionPartition, the first is served first

	// Guarded by the cache's mu.
	used  time.Time
	place *list.Element
	size  int
}

// fetchSessions is the cache of sessions.
type fetchSessions struct {
	slots int
	now   func() time.Time

	mu         sync.Mutex
	sessions   map[int32]*fetchSession // mu guards
	recent     *list.List              // mu guards: of *fetchSession, least recently used first
	partitions int                     // mu guards: in all sessions
}

func newFetchSessions(slots int, now func() time.Time) *fetchSessions {
	return &fetchSessions{slots: slots, now: now, sessions: map[int32]*fetchSession{}, recent: list.New()}
}

// create makes a session of what is wanted, if there is room; nil otherwise.
func (c *fetchSessions) create(wants []fetchWant, useIDs bool) *fetchSession {
	if len(wants) == 0 || c.slots == 0 {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.sessions) >= c.slots || c.partitions+len(wants) > sessionPartitions {
		oldest, ok := c.oldestLocked()
		if !ok || c.now().Sub(oldest.used) < sessionIdle {
			return nil
		}
		c.removeLocked(oldest)
	}
	s := &fetchSession{useIDs: useIDs, epoch: 1, partitions: make(map[fetchKey]*list.Element, len(wants)), order: list.New(), used: c.now()}
	for s.id == sessionNone || c.sessions[s.id] != nil {
		s.id = rand.Int32() //nolint:gosec // a name, not a secret: sessions carry no rights
	}
	for _, w := range wants {
		s.put(w)
	}
	s.size = len(s.partitions)
	c.partitions += s.size
	c.sessions[s.id] = s
	s.place = c.recent.PushBack(s)
	return s
}

func (c *fetchSessions) oldestLocked() (*fetchSession, bool) {
	front := c.recent.Front()
	if front == nil {
		return nil, false
	}
	s, ok := front.Value.(*fetchSession)
	return s, ok
}

func (c *fetchSessions) removeLocked(s *fetchSession) {
	delete(c.sessions, s.id)
	c.recent.Remove(s.place)
	c.partitions -= s.size
}

// end removes a session; an unknown one is no error.
func (c *fetchSessions) end(id int32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := c.sessions[id]; s != nil {
		c.removeLocked(s)
	}
}

// find returns a session and marks it as used.
func (c *fetchSessions) find(id int32) *fetchSession {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.sessions[id]
	if s != nil {
		s.used = c.now()
		c.recent.MoveToBack(s.place)
	}
	return s
}

// resized notes how many partitions a session remembers now.
func (c *fetchSessions) resized(s *fetchSession, size int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.sessions[s.id] == s {
		c.partitions += size - s.size
		s.size = size
	}
}

func (s *fetchSession) put(w fetchWant) {
	if e, ok := s.partitions[w.key]; ok {
		p := e.Value.(*sessionPartition) //nolint:errcheck,forcetypeassert,revive // the list holds nothing else
		w.key = p.want.key
		p.want = w
		return
	}
	w.key.name = strings.Clone(w.key.name) // it lies in the request's buffer
	s.partitions[w.key] = s.order.PushBack(&sessionPartition{want: w, highWatermark: -1, logStart: -1})
}

// update takes an incremental request in and returns what is wanted now, in the order of service.
func (c *fetchSessions) update(req *kmsg.FetchRequest) (*fetchSession, []fetchWant, protocol.Code) {
	s := c.find(req.SessionID)
	if s == nil {
		return nil, nil, protocol.FetchSessionIDNotFound
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.epoch != req.SessionEpoch {
		return nil, nil, protocol.InvalidFetchSessionEpoch
	}
	if s.useIDs != (req.Version >= 13) {
		return nil, nil, protocol.FetchSessionTopicIDError
	}
	s.epoch = nextEpoch(s.epoch)
	for i := range req.ForgottenTopics {
		f := &req.ForgottenTopics[i]
		for _, index := range f.Partitions {
			key := fetchKey{id: f.TopicID, name: f.Topic, index: index}
			if e, ok := s.partitions[key]; ok {
				s.order.Remove(e)
				delete(s.partitions, key)
			}
		}
	}
	for _, w := range wantsOf(req, nil) {
		s.put(w)
	}
	c.resized(s, len(s.partitions))
	wants := make([]fetchWant, 0, len(s.partitions))
	for e := s.order.Front(); e != nil; e = e.Next() {
		wants = append(wants, e.Value.(*sessionPartition).want) //nolint:errcheck,forcetypeassert,revive // the list holds nothing else
	}
	return s, wants, protocol.None
}

// nextEpoch goes from the largest epoch back to 1.
func nextEpoch(e int32) int32 {
	if e == 1<<31-1 {
		return 1
	}
	return e + 1
}

// wantsOf appends what a request names to dst.
func wantsOf(req *kmsg.FetchRequest, dst []fetchWant) []fetchWant {
	for i := range req.Topics {
		t := &req.Topics[i]
		for j := range t.Partitions {
			p := &t.Partitions[j]
			dst = append(dst, fetchWant{
				key:    fetchKey{id: t.TopicID, name: t.Topic, index: p.Partition},
				offset: p.FetchOffset, currentEpoch: p.CurrentLeaderEpoch, lastFetchedEpoch: p.LastFetchedEpoch,
				maxBytes: p.PartitionMaxBytes,
			})
		}
	}
	return dst
}

// settle decides which results an answer of the session needs: those with news. Partitions that gave
// records go to the back, so that large ones do not starve the others. With full, everything is
// answered.
func (s *fetchSession) settle(results []fetchResult, full bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range results {
		r := &results[i]
		e, ok := s.partitions[r.want.key]
		if !ok {
			continue
		}
		p := e.Value.(*sessionPartition) //nolint:errcheck,forcetypeassert,revive // the list holds nothing else
		hw, start := int64(r.offsets.HighWatermark), int64(r.offsets.LogStart)
		news := full || len(r.data) > 0 || r.code != protocol.None || r.diverging || r.preferred >= 0 || hw != p.highWatermark || start != p.logStart
		r.omit = !news
		p.highWatermark, p.logStart = hw, start
		if r.code != protocol.None {
			p.highWatermark = -1 // the next success is news
		}
		if len(r.data) > 0 {
			s.order.MoveToBack(e)
		}
	}
}
