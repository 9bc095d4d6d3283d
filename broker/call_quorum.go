package broker

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/stelemq/stele/broker/controller"
	"github.com/stelemq/stele/broker/metadata"
	"github.com/stelemq/stele/dledger"
)

// Call "quorum": a broker asks the controller who replicates the metadata, and how far each is.
const callQuorum = "quorum"

type quorumRequest struct{}

// quorumAnswer is the metadata's Raft group as the controller sees it.
type quorumAnswer struct {
	Leader int32  `json:"leader"`
	Term   uint64 `json:"term"`
	// Index is that of the last command applied by the controller.
	Index uint64 `json:"index"`
	// Wanted is how many are to vote.
	Wanted  int            `json:"voters_wanted"`
	Members []quorumMember `json:"members"`
}

// quorumMember is a replica of the metadata.
type quorumMember struct {
	Node    int32              `json:"node"`
	Replica metadata.ReplicaID `json:"replica"`
	Voter   bool               `json:"voter"`
	// Index is that of the last command that it is known to have applied, 0: not known.
	Index uint64 `json:"index"`
	// HeardMillis is when it was heard, CaughtUpMillis when it was last known to have everything of that moment: since
	// 1970, by the controller's clock; 0: never.
	HeardMillis    int64 `json:"heard_ms"`
	CaughtUpMillis int64 `json:"caught_up_ms"`
}

// hearQuorum answers as the controller. Only a majority of the voters knows who they are.
func (b *Broker) hearQuorum(ctx context.Context, _ int32, _ *quorumRequest) (quorumAnswer, error) {
	if !b.opts.Host.IsController() {
		return quorumAnswer{}, errNotController
	}
	members, err := b.opts.Host.MetadataMembersNow(ctx)
	if err != nil {
		return quorumAnswer{}, err //nolint:wrapcheck // says all
	}
	image := b.opts.Metadata.Image()
	a := quorumAnswer{Leader: b.opts.NodeID, Term: b.opts.Host.MetadataTerm(), Index: image.Index(), Wanted: controller.Voters(image.Members())}
	heard := b.liveness.heard()
	add := func(id dledger.ReplicaID, node int32, voter bool) {
		m := quorumMember{Node: node, Replica: metadata.ReplicaID(id), Voter: voter}
		br, known := image.Broker(node)
		h, ok := heard[node]
		switch {
		case node == b.opts.NodeID:
			now := b.now().UnixMilli()
			m.Index, m.HeardMillis, m.CaughtUpMillis = a.Index, now, now
		case ok && known && br.MetadataReplica == m.Replica: // else it is that of a former disk
			m.Index, m.HeardMillis, m.CaughtUpMillis = h.Applied, millisOf(h.At), millisOf(h.CaughtUp)
		}
		a.Members = append(a.Members, m)
	}
	for id, node := range members.Voters {
		add(id, node, true)
	}
	for id, node := range members.Learners {
		add(id, node, false)
	}
	slices.SortFunc(a.Members, func(x, y quorumMember) int {
		return cmp.Or(cmp.Compare(x.Node, y.Node), cmp.Compare(x.Replica, y.Replica))
	})
	return a, nil
}

func millisOf(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// quorum asks the controller, which may be this broker. Errors: errNotController, where nobody is known to be.
func (b *Broker) quorum(ctx context.Context) (quorumAnswer, error) {
	node, ok := b.opts.Host.Controller()
	switch {
	case !ok:
		return quorumAnswer{}, errNotController
	case node == b.opts.NodeID:
		return b.hearQuorum(ctx, node, &quorumRequest{})
	case b.opts.Transport == nil:
		return quorumAnswer{}, errNoTransport
	}
	return callNode[quorumRequest, quorumAnswer](ctx, b.opts.Transport, node, callQuorum, &quorumRequest{})
}
