package broker

import (
	"context"
	"maps"
	"sync"
	"time"

	"github.com/stelemq/stele/broker/group"
	"github.com/stelemq/stele/broker/metadata"
)

// Call "lags": the coordinator of groups asks the leader of partitions that it has no replica of how far their logs reach,
// and when the records at some offsets were written, for /metrics.
const callLags = "lags"

const (
	// lagAskInterval is the least time between two rounds of questions to the leaders.
	lagAskInterval = time.Second
	// lagAskTimeout is how long a scrape waits for their answers; without them it shows what was said before.
	lagAskTimeout = 300 * time.Millisecond
	// lagToldMax is how long what was said is shown.
	lagToldMax = 2 * time.Minute
	// lagsPerCall bounds one question.
	lagsPerCall = 2000
)

type lagsRequest struct {
	Partitions []lagQuestion `json:"partitions"`
}

// lagQuestion is about one partition.
type lagQuestion struct {
	Shard metadata.ShardID `json:"shard"`
	// Offsets are those of which the time is asked.
	Offsets []int64 `json:"offsets,omitempty"`
}

type lagsAnswer struct {
	Partitions []lagReply `json:"partitions"` // as they were asked for
}

type lagReply struct {
	// Known: the node leads the partition.
	Known         bool  `json:"known"`
	Start         int64 `json:"start"`
	HighWatermark int64 `json:"high_watermark"`
	// Times are when the first records at or after the offsets were written, in Unix milliseconds; null where that is not known.
	Times []*int64 `json:"times,omitempty"`
}

// toldEnds is how far a log reaches by what its leader has said.
type toldEnds struct {
	start, highWatermark int64

	at time.Time
}

func (b *Broker) hearLags(_ context.Context, _ int32, q *lagsRequest) (lagsAnswer, error) {
	a := lagsAnswer{Partitions: make([]lagReply, len(q.Partitions))}
	reads := 0
	for i := range q.Partitions {
		log := openLog(b.partitions.shard(dledgerShard(q.Partitions[i].Shard)))
		if log == nil || !log.Leadership().IsLeader {
			continue
		}
		o := log.Offsets()
		r := lagReply{Known: true, Start: int64(o.LogStart), HighWatermark: int64(o.HighWatermark)}
		for _, offset := range q.Partitions[i].Offsets {
			var at *int64
			if from := max(offset, r.Start); from < r.HighWatermark && reads < lagReadsMax {
				reads++
				if ms, ok := writtenAt(log, from); ok {
					at = &ms
				}
			}
			r.Times = append(r.Times, at)
		}
		a.Partitions[i] = r
	}
	return a, nil
}

// lagQuestions are those for one node, and the partitions that they are about.
type lagQuestions struct {
	names []lagPartition
	asks  []lagQuestion
}

// askLeaders asks about the partitions that groups have committed for and this node has no replica of. c.mu is held.
func (c *groupSeries) askLeaders(s *lagScrape, groups []group.Summary) {
	if c.b.opts.Transport == nil || s.now.Sub(c.asked) < lagAskInterval {
		return
	}
	byNode := s.questions(groups)
	if len(byNode) == 0 {
		return
	}
	c.asked = s.now
	maps.DeleteFunc(c.told, func(_ lagPartition, e toldEnds) bool { return s.now.Sub(e.at) > lagToldMax })
	ctx, cancel := context.WithTimeout(c.b.running, lagAskTimeout)
	defer cancel()
	var wg sync.WaitGroup
	var mu sync.Mutex
	for node, q := range byNode {
		wg.Go(func() {
			for len(q.asks) > 0 && ctx.Err() == nil {
				n := min(len(q.asks), lagsPerCall)
				a, err := callNode[lagsRequest, lagsAnswer](ctx, c.b.opts.Transport, node, callLags, &lagsRequest{q.asks[:n]})
				if err != nil {
					return // it is asked again
				}
				mu.Lock()
				for i := range min(n, len(a.Partitions)) {
					c.hear(q.names[i], &q.asks[i], &a.Partitions[i], s.now)
				}
				mu.Unlock()
				q.names, q.asks = q.names[n:], q.asks[n:]
			}
		})
	}
	wg.Wait()
}

// hear enters what a leader has said.
func (c *groupSeries) hear(p lagPartition, q *lagQuestion, r *lagReply, now time.Time) {
	if !r.Known {
		return
	}
	c.told[p] = toldEnds{r.Start, r.HighWatermark, now}
	for i := range min(len(q.Offsets), len(r.Times)) {
		if r.Times[i] != nil {
			c.next[lagKey{p, max(q.Offsets[i], r.Start)}] = *r.Times[i]
		}
	}
}

// questions are what the leaders have to be asked, by node.
func (s *lagScrape) questions(groups []group.Summary) map[int32]*lagQuestions {
	offsets := map[lagPartition][]int64{}
	for i := range groups {
		for _, o := range groups[i].Offsets {
			p := lagPartition{o.Topic, o.Partition}
			if log, exists := s.localLog(p); !exists || log != nil {
				continue
			}
			known := offsets[p]
			if _, ok := s.c.next[lagKey{p, max(o.Offset, s.c.told[p].start)}]; !ok {
				known = append(known, o.Offset)
			}
			offsets[p] = known
		}
	}
	out := map[int32]*lagQuestions{}
	for p, of := range offsets {
		t, _ := s.image.Topic(p.topic)
		shard := t.Partitions[p.partition].Shard
		leader := s.c.b.leaderOf(shard, nil).Leader
		if leader < 0 || leader == s.c.b.opts.NodeID {
			continue
		}
		q := out[leader]
		if q == nil {
			q = &lagQuestions{}
			out[leader] = q
		}
		q.names, q.asks = append(q.names, p), append(q.asks, lagQuestion{shard, of})
	}
	return out
}
