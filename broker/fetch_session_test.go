package broker

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/stelemq/stele/protocol"
)

func sessionRequest(version int16, id, epoch int32, topic string, tid [16]byte, partitions ...int32) *kmsg.FetchRequest {
	req := fetchRequest(version, topic, tid, 0, 0)
	req.SessionID, req.SessionEpoch = id, epoch
	one := req.Topics[0].Partitions[0]
	req.Topics[0].Partitions = nil
	for _, p := range partitions {
		one.Partition = p
		req.Topics[0].Partitions = append(req.Topics[0].Partitions, one)
	}
	if len(partitions) == 0 {
		req.Topics = nil
	}
	return req
}

func partitionsOf(r *kmsg.FetchResponse) []int32 {
	var out []int32
	for _, t := range r.Topics {
		for _, p := range t.Partitions {
			out = append(out, p.Partition)
		}
	}
	return out
}

func TestGotcha06_FetchSessions(t *testing.T) {
	b := startBroker(t)
	c := b.dial(t)
	for _, version := range []int16{7, 12, 13, 18} {
		topic := fmt.Sprint("t", version)
		id := c.createTopic(topic, 4)
		full := ask[*kmsg.FetchResponse](c, sessionRequest(version, 0, 0, topic, id, 0, 1, 2))
		sid := full.SessionID
		if sid == 0 || full.ErrorCode != 0 || !slices.Equal(partitionsOf(full), []int32{0, 1, 2}) {
			t.Fatalf("v%d: %+v", version, full)
		}
		quiet := ask[*kmsg.FetchResponse](c, sessionRequest(version, sid, 1, "", id))
		if quiet.SessionID != sid || len(quiet.Topics) != 0 {
			t.Fatalf("v%d: unchanged partitions are answered: %+v", version, quiet)
		}
		c.produce(topic, 1, batchOf(t, "x"))
		news := ask[*kmsg.FetchResponse](c, sessionRequest(version, sid, 2, "", id))
		if !slices.Equal(partitionsOf(news), []int32{1}) {
			t.Fatalf("v%d: %v", version, partitionsOf(news))
		}
		more := ask[*kmsg.FetchResponse](c, sessionRequest(version, sid, 3, topic, id, 3, 9))
		if got := partitionsOf(more); !slices.Contains(got, 3) || !slices.Contains(got, 9) {
			t.Fatalf("v%d: added partitions: %v", version, got)
		}
		again := ask[*kmsg.FetchResponse](c, sessionRequest(version, sid, 4, "", id))
		if got := partitionsOf(again); !slices.Contains(got, 9) {
			t.Fatalf("v%d: the error of partition 9 is left out: %v", version, got)
		}
		forget := sessionRequest(version, sid, 5, "", id)
		forget.ForgottenTopics = []kmsg.FetchRequestForgottenTopic{{Topic: topic, TopicID: id, Partitions: []int32{1, 9}}}
		if got := partitionsOf(ask[*kmsg.FetchResponse](c, forget)); len(got) != 0 {
			t.Fatalf("v%d: after forgetting: %v", version, got)
		}
		for _, epoch := range []int32{5, 7} {
			if r := ask[*kmsg.FetchResponse](c, sessionRequest(version, sid, epoch, "", id)); r.ErrorCode != int16(protocol.InvalidFetchSessionEpoch) || len(r.Topics) != 0 {
				t.Errorf("v%d: epoch %d: %+v", version, epoch, r)
			}
		}
		if r := ask[*kmsg.FetchResponse](c, sessionRequest(version, sid+1, 1, "", id)); r.ErrorCode != int16(protocol.FetchSessionIDNotFound) {
			t.Errorf("v%d: unknown session: %+v", version, r)
		}
		other := map[bool]int16{true: 12, false: 13}[version >= 13]
		if r := ask[*kmsg.FetchResponse](c, sessionRequest(other, sid, 6, "", id)); r.ErrorCode != int16(protocol.FetchSessionTopicIDError) {
			t.Errorf("v%d then v%d: %+v", version, other, r)
		}
		if r := ask[*kmsg.FetchResponse](c, sessionRequest(version, sid, -1, topic, id, 0)); r.SessionID != 0 || len(partitionsOf(r)) != 1 {
			t.Errorf("v%d: final: %+v", version, r)
		}
		if r := ask[*kmsg.FetchResponse](c, sessionRequest(version, sid, 6, "", id)); r.ErrorCode != int16(protocol.FetchSessionIDNotFound) {
			t.Errorf("v%d: ended session: %+v", version, r)
		}
	}
}

func TestGotcha06_LargePartitionsDoNotStarveOthers(t *testing.T) {
	b := startBroker(t)
	c := b.dial(t)
	c.createTopic("t", 3)
	for i := range int32(3) {
		for range 10 {
			c.produce("t", i, batchOf(t, "x"))
		}
	}
	req := sessionRequest(12, 0, 0, "t", [16]byte{}, 0, 1, 2)
	req.MaxBytes = 1
	first := ask[*kmsg.FetchResponse](c, req)
	served := []int32{}
	note := func(r *kmsg.FetchResponse) {
		for _, p := range r.Topics[0].Partitions {
			if len(p.RecordBatches) > 0 {
				served = append(served, p.Partition)
			}
		}
	}
	note(first)
	for epoch := int32(1); epoch < 6; epoch++ {
		next := sessionRequest(12, first.SessionID, epoch, "", [16]byte{})
		next.MaxBytes = 1
		note(ask[*kmsg.FetchResponse](c, next))
	}
	if !slices.Equal(served, []int32{0, 1, 2, 0, 1, 2}) {
		t.Errorf("served in the order %v", served)
	}
}

func TestFetchSessions_EvictOnlyTheIdle(t *testing.T) {
	now := time.Unix(1000, 0)
	c := newFetchSessions(2, func() time.Time { return now })
	want := func(i int32) []fetchWant { return []fetchWant{{key: fetchKey{name: "t", index: i}}} }
	first, second := c.create(want(1), false), c.create(want(2), false)
	if first == nil || second == nil || c.create(want(3), false) != nil {
		t.Fatal("two slots")
	}
	now = now.Add(sessionIdle)
	c.find(first.id)
	third := c.create(want(3), false)
	if third == nil || c.find(second.id) != nil || c.find(first.id) == nil {
		t.Fatal("the least recently used one gives way")
	}
	if c.partitions != 2 {
		t.Errorf("%d partitions are counted", c.partitions)
	}
	c.end(first.id)
	c.end(first.id)
	if c.partitions != 1 || c.recent.Len() != 1 {
		t.Errorf("%d partitions, %d sessions", c.partitions, c.recent.Len())
	}
	if newFetchSessions(0, time.Now).create(want(1), false) != nil {
		t.Error("a session without slots")
	}
	if nextEpoch(1<<31-1) != 1 {
		t.Error("epochs wrap to 1")
	}
}
