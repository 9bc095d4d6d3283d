package broker

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/stelemq/stele/broker/group"
	"github.com/stelemq/stele/broker/metadata"
	"github.com/stelemq/stele/dledger"
	"github.com/stelemq/stele/protocol/record"
)

const (
	// groupScrapeTimeout bounds how long a scrape waits for the coordinators.
	groupScrapeTimeout = 2 * time.Second
	// lagReadsMax bounds the batches that one scrape reads to tell a lag in time; the others follow with the next ones.
	lagReadsMax = 200
	// lagReadBytes is how much is read of a log for it, if the batch is not larger.
	lagReadBytes = 16 << 10
)

// groupSeries shows the groups whose coordinators are here, and how far they are behind. The ends of logs are those that this
// node's replicas know; of partitions without a replica here the leaders are asked, so each series is in the cluster once.
type groupSeries struct {
	b *Broker

	mu sync.Mutex
	// next is when the first records after some offsets were written, by partition; what is not asked for again is dropped.
	next map[lagKey]int64 // mu guards
	// told is what leaders have said of partitions that have no replica here; what is not asked for again is dropped.
	told  map[lagPartition]toldEnds // mu guards
	asked time.Time                 // mu guards: when leaders were asked last
}

// lagKey is an offset in a partition.
type lagKey struct {
	lagPartition

	offset int64
}

// lagPartition names a partition that a group has committed for.
type lagPartition struct {
	topic     string
	partition int32
}

func newGroupSeries(b *Broker) *groupSeries {
	return &groupSeries{b: b, next: map[lagKey]int64{}, told: map[lagPartition]toldEnds{}}
}

// collect makes the series of one scrape.
func (c *groupSeries) collect(out *families) {
	c.mu.Lock()
	defer c.mu.Unlock()
	image := c.b.opts.Metadata.Image()
	s := lagScrape{
		c: c, image: image, now: c.b.now(), next: map[lagKey]int64{}, told: map[lagPartition]toldEnds{},
		detail:    image.PartitionCount() <= c.b.opts.Config.PartitionMetricsMax,
		groups:    out.gauge("groups", "Groups whose coordinator is this broker, by state."),
		members:   out.gauge("group_members", "Members of a group."),
		committed: out.gauge("group_committed_offset", "The offset that a group has committed."),
		lag:       out.gauge("group_lag_records", "Records between what a group has committed and the high watermark."),
		seconds:   out.gauge("group_lag_seconds", "Age of the oldest record that a group has not committed, 0 where it has all."),
	}
	states := map[string]int{}
	summaries := c.b.groupSummaries()
	slices.SortFunc(summaries, func(a, b group.Summary) int { return cmp.Compare(a.ID, b.ID) })
	c.askLeaders(&s, summaries)
	for i := range summaries {
		g := &summaries[i]
		states[g.State]++
		s.members.set(float64(g.Members), labels("group", g.ID))
		s.group(g)
	}
	for _, state := range slices.Sorted(maps.Keys(states)) {
		s.groups.set(float64(states[state]), labels("state", state))
	}
	c.next, c.told = s.next, s.told
}

// groupSummaries are the groups whose coordinators are here.
func (b *Broker) groupSummaries() []group.Summary {
	ctx, cancel := context.WithTimeout(b.running, groupScrapeTimeout)
	defer cancel()
	var out []group.Summary
	for _, k := range b.coordinators.here() {
		var some []group.Summary
		if k.log.Leadership().IsLeader && k.read(ctx, func(c *group.Coordinator) { some = c.Summaries() }) {
			out = append(out, some...)
		}
	}
	return out
}

// lagScrape is one scrape.
type lagScrape struct {
	c     *groupSeries
	image *metadata.Image
	now   time.Time
	next  map[lagKey]int64
	told  map[lagPartition]toldEnds
	// reads are those that this scrape has done.
	reads  int
	detail bool

	groups, members, committed, lag, seconds *family
}

func (s *lagScrape) group(g *group.Summary) {
	seconds := map[string]float64{}
	slices.SortFunc(g.Offsets, func(a, b group.CommittedOffset) int {
		return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
	})
	for i := range g.Offsets {
		o := &g.Offsets[i]
		lag, age, known := s.behind(o)
		if s.detail {
			one := labels("group", g.ID, "partition", strconv.Itoa(int(o.Partition)), "topic", o.Topic)
			s.committed.set(float64(o.Offset), one)
			if known {
				s.lag.set(float64(lag), one)
			}
		}
		if known {
			seconds[o.Topic] = max(seconds[o.Topic], age.Seconds())
		}
	}
	for _, topic := range slices.Sorted(maps.Keys(seconds)) {
		s.seconds.set(seconds[topic], labels("group", g.ID, "topic", topic))
	}
}

// localLog is this node's replica of a partition that exists; nil where it has none.
func (s *lagScrape) localLog(p lagPartition) (log PartitionLog, exists bool) {
	t, ok := s.image.Topic(p.topic)
	if !ok || int(p.partition) >= len(t.Partitions) {
		return nil, false
	}
	return openLog(s.c.b.partitions.find(t.ID, p.partition)), true
}

// behind is how far a commit is behind. The high watermark is read after the commit: it is never below what was committed,
// unless this replica follows and has not heard yet, or the leader was asked a while ago.
func (s *lagScrape) behind(o *group.CommittedOffset) (records int64, age time.Duration, known bool) {
	p := lagPartition{o.Topic, o.Partition}
	log, exists := s.localLog(p)
	if !exists {
		return 0, 0, false
	}
	var ends toldEnds
	if log != nil {
		offsets := log.Offsets()
		ends = toldEnds{start: int64(offsets.LogStart), highWatermark: int64(offsets.HighWatermark)}
	} else {
		if ends, known = s.c.told[p]; !known {
			return 0, 0, false
		}
		s.told[p] = ends
	}
	from := max(o.Offset, ends.start) // what has been deleted cannot be read any more
	if records = ends.highWatermark - from; records <= 0 {
		return 0, 0, true
	}
	at, ok := s.written(log, lagKey{p, from})
	if !ok {
		return records, 0, true
	}
	return records, max(0, s.now.Sub(time.UnixMilli(at))), true
}

// written is when the first record at or after an offset was written.
func (s *lagScrape) written(log PartitionLog, key lagKey) (int64, bool) {
	if at, ok := s.c.next[key]; ok {
		s.next[key] = at
		return at, true
	}
	if log == nil {
		return 0, false // the leader has said so, or will
	}
	if s.reads++; s.reads > lagReadsMax {
		return 0, false
	}
	at, ok := writtenAt(log, key.offset)
	if ok {
		s.next[key] = at
	}
	return at, ok
}

// writtenAt reads when the first record at or after an offset was written, in Unix milliseconds.
func writtenAt(log PartitionLog, offset int64) (int64, bool) {
	got, _, err := log.Read(nil, dledger.ReadRequest{
		From: record.Offset(offset), Limit: dledger.ReadToHighWatermark, MaxBytes: lagReadBytes, AtLeastOne: true, Records: true,
	})
	if err != nil || len(got) == 0 {
		return 0, false
	}
	batch, _, err := record.Next(got)
	if err != nil {
		return 0, false
	}
	if batch.Attributes().LogAppendTime() {
		return batch.MaxTimestamp(), true
	}
	return batch.BaseTimestamp(), true
}
