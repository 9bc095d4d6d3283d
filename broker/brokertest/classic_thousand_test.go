package brokertest_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/stelemq/stele/broker/brokertest"
	"github.com/stelemq/stele/protocol"
)

// classicMember joins a group of the classic protocol and stays in it.
type classicMember struct {
	groupClient
	// settled is the generation in which the member was given something, and out of how many.
	settled atomic.Int64
	of      atomic.Int64
}

// join is one round: the leader gives everybody something. It reports false where the round was overtaken by the next.
func (m *classicMember) join(ctx context.Context) (bool, error) {
	req := kmsg.NewPtrJoinGroupRequest()
	req.Version, req.Group, req.ProtocolType, req.SessionTimeoutMillis, req.RebalanceTimeoutMillis = 5, m.group, "consumer", 30_000, 30_000
	req.Protocols, req.MemberID = []kmsg.JoinGroupRequestProtocol{{Name: "range", Metadata: []byte{1}}}, m.id
	r, err := m.ask(ctx, req, func() kmsg.Response { return kmsg.NewPtrJoinGroupResponse() }, func(r kmsg.Response) int16 { return r.(*kmsg.JoinGroupResponse).ErrorCode })
	if err != nil {
		return false, err
	}
	joined, _ := r.(*kmsg.JoinGroupResponse)
	if m.id = joined.MemberID; protocol.Code(joined.ErrorCode) == protocol.MemberIDRequired {
		return false, nil
	} else if joined.ErrorCode != 0 {
		return false, protocol.Code(joined.ErrorCode).Err()
	}
	m.generation = joined.Generation
	sync := kmsg.NewPtrSyncGroupRequest()
	sync.Version, sync.Group, sync.MemberID, sync.Generation = 3, m.group, m.id, m.generation
	for i := range joined.Members {
		sync.GroupAssignment = append(sync.GroupAssignment, kmsg.SyncGroupRequestGroupAssignment{
			MemberID: joined.Members[i].MemberID, MemberAssignment: fmt.Appendf(nil, "%d", len(joined.Members)),
		})
	}
	s, err := m.ask(ctx, sync, func() kmsg.Response { return kmsg.NewPtrSyncGroupResponse() }, func(r kmsg.Response) int16 { return r.(*kmsg.SyncGroupResponse).ErrorCode })
	if err != nil {
		return false, err
	}
	synced, _ := s.(*kmsg.SyncGroupResponse)
	switch protocol.Code(synced.ErrorCode) {
	case protocol.None:
	case protocol.RebalanceInProgress:
		return false, nil
	default:
		return false, protocol.Code(synced.ErrorCode).Err()
	}
	var of int64
	if _, err := fmt.Sscan(string(synced.MemberAssignment), &of); err != nil {
		return false, fmt.Errorf("assignment %q: %w", synced.MemberAssignment, err)
	}
	m.of.Store(of)
	m.settled.Store(int64(m.generation))
	return true, nil
}

// A thousand members of the classic protocol come at once, over a connection each, and are settled in one generation within
// five seconds.
func TestGroup_ThousandClassicMembersSettle(t *testing.T) {
	if testing.Short() {
		t.Skip("a thousand connections take their time")
	}
	const members, limit = 1000, 5 * time.Second
	b := brokertest.Start(t, brokertest.Options{Config: quickGroups})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	all := make([]*classicMember, members)
	for i := range all {
		all[i] = &classicMember{groupClient: groupClient{t: t, addresses: []string{b.Address()}, group: "g"}}
	}
	for !all[0].connect(ctx) { // until __consumer_offsets is there
		pauseFor(ctx, 20*time.Millisecond)
	}
	working, stop := context.WithCancel(ctx)
	defer stop()
	began := time.Now()
	var wg sync.WaitGroup
	for _, m := range all {
		wg.Go(func() {
			defer m.close()
			for working.Err() == nil {
				in, err := m.join(working)
				for in && err == nil && working.Err() == nil {
					pauseFor(working, 200*time.Millisecond)
					var code protocol.Code
					if code, err = m.heartbeat(working); code != protocol.None {
						in = false // the next round
					}
				}
				if err != nil && working.Err() == nil {
					t.Error(err)
					return
				}
			}
		})
	}
	settled := func() bool {
		generation := all[0].settled.Load()
		for _, m := range all {
			if m.of.Load() != members || m.settled.Load() != generation {
				return false
			}
		}
		return true
	}
	for !settled() {
		if ctx.Err() != nil {
			t.Fatal("the group has not settled within a minute")
		}
		pauseFor(ctx, 5*time.Millisecond)
	}
	took := time.Since(began)
	stop()
	t.Logf("%d members are settled after %v, generation %d", members, took, all[0].settled.Load())
	if took > limit && !raceEnabled {
		t.Errorf("%v, want at most %v", took, limit)
	}
	wg.Wait()
}
