package brokertest_test

import (
	"context"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/stelemq/stele/broker"
	"github.com/stelemq/stele/broker/brokertest"
	"github.com/stelemq/stele/protocol"
)

// groupClient is a member that speaks the protocol by hand, and finds its coordinator again whenever it is lost.
type groupClient struct {
	t         *testing.T
	addresses []string
	group     string
	nc        net.Conn

	id         string
	generation int32
}

func (g *groupClient) close() {
	if g.nc != nil {
		_ = g.nc.Close()
		g.nc = nil
	}
}

// exchange sends a request to whoever is connected; false: the connection is lost.
func (g *groupClient) exchange(req kmsg.Request, resp kmsg.Response, timeout time.Duration) bool {
	if _, err := g.nc.Write(request(req)); err != nil {
		return false
	}
	_ = g.nc.SetReadDeadline(time.Now().Add(timeout))
	frame, err := protocol.ReadFrame(nil, g.nc, 1<<20)
	if err != nil {
		return false
	}
	resp.SetVersion(req.GetVersion())
	at := 4
	if req.IsFlexible() {
		at++
	}
	return resp.ReadFrom(frame[at:]) == nil
}

// connect finds the coordinator.
func (g *groupClient) connect(ctx context.Context) bool {
	g.close()
	for _, address := range g.addresses {
		nc, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp", address)
		if err != nil {
			continue
		}
		g.nc = nc
		req := kmsg.NewPtrFindCoordinatorRequest()
		req.Version, req.CoordinatorKeys = 4, []string{g.group}
		resp := kmsg.NewPtrFindCoordinatorResponse()
		if !g.exchange(req, resp, 15*time.Second) || resp.Coordinators[0].ErrorCode != 0 {
			g.close()
			continue
		}
		found := net.JoinHostPort(resp.Coordinators[0].Host, fmt.Sprint(resp.Coordinators[0].Port))
		_ = nc.Close()
		if g.nc, err = (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp", found); err != nil {
			g.nc = nil
			continue
		}
		return true
	}
	return false
}

// ask repeats a request until a coordinator has answered it; code reads the answer's error.
func (g *groupClient) ask(ctx context.Context, req kmsg.Request, resp func() kmsg.Response, code func(kmsg.Response) int16) (kmsg.Response, error) {
	for ctx.Err() == nil {
		if g.nc == nil && !g.connect(ctx) {
			pauseFor(ctx, 20*time.Millisecond)
			continue
		}
		r := resp()
		if !g.exchange(req, r, 30*time.Second) {
			g.close()
			continue
		}
		switch protocol.Code(code(r)) {
		case protocol.NotCoordinator, protocol.CoordinatorNotAvailable, protocol.CoordinatorLoadInProgress:
			g.close()
			pauseFor(ctx, 10*time.Millisecond)
			continue
		}
		return r, nil
	}
	return nil, context.Cause(ctx)
}

func pauseFor(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

func (g *groupClient) commit(ctx context.Context, partition int32, offset int64) (protocol.Code, error) {
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Version, req.Group, req.MemberID, req.Generation = 7, g.group, g.id, g.generation
	p := kmsg.NewOffsetCommitRequestTopicPartition()
	p.Partition, p.Offset = partition, offset
	req.Topics = []kmsg.OffsetCommitRequestTopic{{Topic: "t", Partitions: []kmsg.OffsetCommitRequestTopicPartition{p}}}
	read := func(r kmsg.Response) int16 { return r.(*kmsg.OffsetCommitResponse).Topics[0].Partitions[0].ErrorCode }
	r, err := g.ask(ctx, req, func() kmsg.Response { return kmsg.NewPtrOffsetCommitResponse() }, read)
	if err != nil {
		return 0, err
	}
	return protocol.Code(read(r)), nil
}

func (g *groupClient) committed(ctx context.Context, partition int32) (int64, error) {
	req := kmsg.NewPtrOffsetFetchRequest()
	req.Version, req.Group = 7, g.group
	req.Topics = []kmsg.OffsetFetchRequestTopic{{Topic: "t", Partitions: []int32{partition}}}
	r, err := g.ask(ctx, req, func() kmsg.Response { return kmsg.NewPtrOffsetFetchResponse() }, func(r kmsg.Response) int16 { return r.(*kmsg.OffsetFetchResponse).ErrorCode })
	if err != nil {
		return 0, err
	}
	return r.(*kmsg.OffsetFetchResponse).Topics[0].Partitions[0].Offset, nil
}

// enter joins and syncs as the only member.
func (g *groupClient) enter(ctx context.Context) error {
	join := kmsg.NewPtrJoinGroupRequest()
	join.Version, join.Group, join.ProtocolType, join.SessionTimeoutMillis, join.RebalanceTimeoutMillis = 5, g.group, "consumer", 30_000, 30_000
	join.Protocols = []kmsg.JoinGroupRequestProtocol{{Name: "range", Metadata: []byte{1}}}
	join.MemberID = g.id
	for {
		r, err := g.ask(ctx, join, func() kmsg.Response { return kmsg.NewPtrJoinGroupResponse() }, func(r kmsg.Response) int16 { return r.(*kmsg.JoinGroupResponse).ErrorCode })
		if err != nil {
			return err
		}
		resp := r.(*kmsg.JoinGroupResponse)
		g.id, g.generation = resp.MemberID, resp.Generation
		switch protocol.Code(resp.ErrorCode) {
		case protocol.None:
		case protocol.MemberIDRequired:
			join.MemberID = resp.MemberID
			continue
		case protocol.UnknownMemberID:
			join.MemberID = ""
			continue
		default:
			return protocol.Code(resp.ErrorCode)
		}
		sync := kmsg.NewPtrSyncGroupRequest()
		sync.Version, sync.Group, sync.MemberID, sync.Generation = 3, g.group, g.id, g.generation
		sync.GroupAssignment = []kmsg.SyncGroupRequestGroupAssignment{{MemberID: g.id, MemberAssignment: []byte("mine")}}
		s, err := g.ask(ctx, sync, func() kmsg.Response { return kmsg.NewPtrSyncGroupResponse() }, func(r kmsg.Response) int16 { return r.(*kmsg.SyncGroupResponse).ErrorCode })
		if err != nil {
			return err
		}
		if s.(*kmsg.SyncGroupResponse).ErrorCode == 0 {
			return nil
		}
	}
}

func (g *groupClient) heartbeat(ctx context.Context) (protocol.Code, error) {
	req := kmsg.NewPtrHeartbeatRequest()
	req.Version, req.Group, req.MemberID, req.Generation = 3, g.group, g.id, g.generation
	r, err := g.ask(ctx, req, func() kmsg.Response { return kmsg.NewPtrHeartbeatResponse() }, func(r kmsg.Response) int16 { return r.(*kmsg.HeartbeatResponse).ErrorCode })
	if err != nil {
		return 0, err
	}
	return protocol.Code(r.(*kmsg.HeartbeatResponse).ErrorCode), nil
}

// The coordinator is cut off, stopped and started again in the midst of commits: members keep their ids and generations, and
// no acknowledged commit is lost.
func TestGroup_SurvivesItsCoordinators(t *testing.T) {
	c := brokertest.StartCluster(t, 3, brokertest.Options{Config: func(cfg *broker.Config) {
		cfg.Groups.InitialRebalanceDelay, cfg.OffsetsTopic.Partitions = 0, 3
	}})
	createTopic(t, dialAddress(t, c.Addresses()[0]), "t", 8, 3)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	const groups = 6
	members := make([]*groupClient, groups)
	for i := range members {
		members[i] = &groupClient{t: t, addresses: c.Addresses(), group: fmt.Sprint("g", i)}
		if err := members[i].enter(ctx); err != nil {
			t.Fatal(err)
		}
	}
	type life struct {
		id         string
		generation int32
	}
	before := make([]life, groups)
	for i, m := range members {
		before[i] = life{m.id, m.generation}
	}
	working, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	var mu sync.Mutex
	acked := make([]int64, groups)
	for i, m := range members {
		wg.Go(func() {
			for offset := int64(1); working.Err() == nil; offset++ {
				code, err := m.commit(ctx, int32(i), offset)
				if err != nil {
					t.Errorf("group %d: %v", i, err)
					return
				}
				if code != protocol.None {
					t.Errorf("group %d: commit %d: %v", i, offset, code)
					return
				}
				mu.Lock()
				acked[i] = offset
				mu.Unlock()
				at, err := m.committed(ctx, int32(i))
				if err != nil || at < offset {
					t.Errorf("group %d: %d is committed, %d was acknowledged (%v)", i, at, offset, err)
					return
				}
			}
		})
	}
	progress := func(what string) {
		mu.Lock()
		from := append([]int64{}, acked...)
		mu.Unlock()
		eventually(t, "commits go on "+what, func() bool {
			mu.Lock()
			defer mu.Unlock()
			for i := range acked {
				if acked[i] < from[i]+5 {
					return false
				}
			}
			return true
		})
	}
	progress("at first")
	for node := int32(1); node <= 3; node++ {
		c.Isolate(node, true)
		progress(fmt.Sprint("while node ", node, " is cut off"))
		c.Isolate(node, false)
		progress(fmt.Sprint("after node ", node, " was cut off"))
		c.Stop(node)
		progress(fmt.Sprint("while node ", node, " is stopped"))
		c.Start(node)
	}
	stop()
	wg.Wait()
	for i, m := range members {
		if code, err := m.heartbeat(ctx); err != nil || code != protocol.None {
			t.Errorf("group %d: heartbeat: %v %v", i, code, err)
		}
		if now := (life{m.id, m.generation}); now != before[i] {
			t.Errorf("group %d: member %v, was %v", i, now, before[i])
		}
		m.close()
	}
	t.Logf("commits acknowledged: %v", acked)
}
