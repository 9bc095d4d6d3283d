package broker

import (
	"errors"
	"testing"
	"time"

	"github.com/stelemq/stele/broker/metadata"
)

func TestHeartbeat_RegistersAgainWhenForgotten(t *testing.T) {
	b := startBroker(t, func(o *Options) { o.Config.HeartbeatInterval = time.Millisecond })
	eventually(t, func() bool {
		b.host.mu.Lock()
		defer b.host.mu.Unlock()
		return b.host.heardController > 0
	})
	if n := b.liveness.heard()[1]; n.Incarnation != b.incarnation || n.ShuttingDown || n.At.IsZero() {
		t.Errorf("%+v", n)
	}
	if _, err := b.propose(t.Context(), &metadata.RemoveNode{Node: 1}); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() bool {
		br, ok := b.host.machine.Image().Broker(1)
		return ok && br.Incarnation == b.incarnation
	})
}

func TestHeartbeat_OnlyTheControllerAnswers(t *testing.T) {
	b := startBroker(t)
	b.host.mu.Lock()
	b.host.controller = 2
	b.host.mu.Unlock()
	if _, err := b.hearHeartbeat(t.Context(), 3, &heartbeat{Incarnation: "x"}); !errors.Is(err, errNotController) {
		t.Error(err)
	}
}

// TestHeartbeat_NoLeaseForTheFenced: what a fenced broker leads may get a new generation, so that an answer must
// not let it acknowledge.
func TestHeartbeat_NoLeaseForTheFenced(t *testing.T) {
	for a, want := range map[heartbeatAnswer]bool{{Known: true}: true, {}: false, {Known: true, Fenced: true}: false, {Fenced: true}: false} {
		if a.lease() != want {
			t.Errorf("%+v", a)
		}
	}
	b := startBroker(t)
	b.addNodes(t, 2)
	br, _ := b.host.machine.Image().Broker(2)
	b.apply(t, &metadata.FenceBrokers{Brokers: []metadata.BrokerEpoch{{Node: 2, Epoch: br.Epoch}}})
	a, err := b.hearHeartbeat(t.Context(), 2, &heartbeat{Incarnation: "another start: it stays fenced"})
	if err != nil || a.Known || !a.Fenced {
		t.Errorf("%+v %v", a, err)
	}
}
