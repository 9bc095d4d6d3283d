package broker

import (
	"context"
	"errors"
	"net"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/stelemq/stele/broker/metadata"
	"github.com/stelemq/stele/protocol"
)

// The HTTP admin API: what Kafka's protocol has no request for. JSON, on any broker, and only for clients on
// the same machine.
//
//	GET    /admin/v1/nodes                                  all nodes
//	GET    /admin/v1/nodes/{node}                           one node, and what keeps it from being empty
//	POST   /admin/v1/nodes/{node}/drain                     leaderships go elsewhere
//	POST   /admin/v1/nodes/{node}/undrain                   ends drain and decommission
//	POST   /admin/v1/nodes/{node}/decommission[?force=true] replicas go elsewhere, too; then it is removed
//	GET    /admin/v1/partitions/{topic}/{partition}         Raft's state of every replica
//	POST   /admin/v1/partitions/{topic}/{partition}/transfer?to=NODE
//	POST   /admin/v1/partitions/{topic}/{partition}/recover go on from what has survived
//	DELETE /admin/v1/partitions/{topic}/{partition}/recover
//
// Errors are {"error": text, "code": Kafka's name of the code}.

// adminTimeout bounds one request.
const adminTimeout = 10 * time.Second

func (b *Broker) handleAdmin(mux *http.ServeMux) {
	handle := func(pattern string, f func(w http.ResponseWriter, r *http.Request)) {
		mux.HandleFunc(pattern, loopbackOnly(sameSiteOnly(f)))
	}
	handle("GET /admin/v1/nodes", b.adminNodes)
	handle("GET /admin/v1/nodes/{node}", b.adminNode)
	handle("POST /admin/v1/nodes/{node}/drain", b.adminNodeState(metadata.NodeDraining))
	handle("POST /admin/v1/nodes/{node}/undrain", b.adminNodeState(metadata.NodeActive))
	handle("POST /admin/v1/nodes/{node}/decommission", b.adminNodeState(metadata.NodeDecommissioning))
	handle("GET /admin/v1/partitions/{topic}/{partition}", b.adminPartition)
	handle("POST /admin/v1/partitions/{topic}/{partition}/transfer", b.adminTransfer)
	handle("POST /admin/v1/partitions/{topic}/{partition}/recover", b.adminRecover(false))
	handle("DELETE /admin/v1/partitions/{topic}/{partition}/recover", b.adminRecover(true))
}

// sameSiteOnly refuses what a browser sends for a page of somebody else: it reaches loopback addresses, too.
func sameSiteOnly(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		host, _, err := net.SplitHostPort(r.Host)
		if err != nil {
			host = r.Host
		}
		ip := net.ParseIP(host)
		if r.Header.Get("Origin") != "" || host != "localhost" && (ip == nil || !ip.IsLoopback()) {
			http.NotFound(w, r)
			return
		}
		next(w, r)
	}
}

type adminError struct {
	Error string `json:"error"`
	Code  string `json:"code"`
}

func writeAdminError(w http.ResponseWriter, err error) {
	status, e := http.StatusServiceUnavailable, adminError{err.Error(), proposeCode(err).String()}
	var refused *metadata.Error
	if errors.As(err, &refused) {
		e = adminError{refused.Message, refused.Code.String()}
		switch refused.Code {
		case protocol.BrokerIDNotRegistered, protocol.UnknownTopicOrPartition:
			status = http.StatusNotFound
		case protocol.InvalidRequest:
			status = http.StatusBadRequest
		default:
			status = http.StatusConflict
		}
	}
	writeJSON(w, status, e)
}

// nodeReport is a node as /admin/v1/nodes shows it.
type nodeReport struct {
	Node        int32  `json:"node"`
	Rack        string `json:"rack,omitempty"`
	RaftAddress string `json:"raft_address,omitempty"`
	// State is active, draining or decommissioning; Fenced: it is not heard.
	State  string `json:"state"`
	Fenced bool   `json:"fenced"`
	// MetadataReplica is its replica of the metadata.
	MetadataReplica metadata.ReplicaID `json:"metadata_replica,omitempty"`
	// Replicas that it has or loses, Leaders that it leads now, Preferred that it should lead.
	Replicas  int `json:"replicas"`
	Leaders   int `json:"leaders"`
	Preferred int `json:"preferred_leaders"`
	// Blocked are partitions that cannot go elsewhere, of a node that is to be emptied.
	Blocked []blockedPartition `json:"blocked,omitempty"`
}

type blockedPartition struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Reason    string `json:"reason"`
}

func (b *Broker) nodeReports(image *metadata.Image) map[int32]*nodeReport {
	reports := map[int32]*nodeReport{}
	for _, br := range image.Brokers() {
		state := string(br.State)
		if br.State == metadata.NodeActive {
			state = "active"
		}
		reports[br.Node] = &nodeReport{
			Node: br.Node, Rack: br.Rack, RaftAddress: br.RaftAddress, State: state, Fenced: br.Fenced, MetadataReplica: br.MetadataReplica,
			Preferred: image.NodeLoad(br.Node).Leaders,
		}
	}
	for t := range image.Topics() {
		for n := range t.Partitions {
			p := &t.Partitions[n]
			for _, node := range p.Nodes() {
				if r := reports[node]; r != nil {
					r.Replicas++
				}
			}
			if r := reports[b.leaderOf(p.Shard, b.partitions.shard(dledgerShard(p.Shard))).Leader]; r != nil {
				r.Leaders++
			}
		}
	}
	return reports
}

func (b *Broker) adminNodes(w http.ResponseWriter, _ *http.Request) {
	image := b.opts.Metadata.Image()
	reports := b.nodeReports(image)
	out := make([]*nodeReport, 0, len(reports))
	for _, br := range image.Brokers() {
		out = append(out, reports[br.Node])
	}
	writeJSON(w, http.StatusOK, map[string]any{"nodes": out, "self": b.opts.NodeID})
}

func (b *Broker) adminNode(w http.ResponseWriter, r *http.Request) {
	br, err := nodeOf(b.opts.Metadata.Image(), r)
	if err != nil {
		writeAdminError(w, err)
		return
	}
	b.writeNode(w, br.Node, br.State)
}

// writeNode answers how a node stands on its way to a state.
func (b *Broker) writeNode(w http.ResponseWriter, node int32, state metadata.NodeState) {
	image := b.opts.Metadata.Image()
	report := b.nodeReports(image)[node]
	if report == nil {
		writeAdminError(w, &metadata.Error{Code: protocol.BrokerIDNotRegistered, Message: "the node is not registered any more"})
		return
	}
	report.Blocked = b.blocked(image, node, state)
	writeJSON(w, http.StatusOK, report)
}

func nodeOf(image *metadata.Image, r *http.Request) (*metadata.Broker, error) {
	id, err := strconv.ParseInt(r.PathValue("node"), 10, 32)
	if err != nil {
		return nil, &metadata.Error{Code: protocol.InvalidRequest, Message: "the node id is not a number"}
	}
	br, ok := image.Broker(int32(id))
	if !ok {
		return nil, &metadata.Error{Code: protocol.BrokerIDNotRegistered, Message: "node " + r.PathValue("node") + " is not registered"}
	}
	return br, nil
}

func (b *Broker) adminNodeState(state metadata.NodeState) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		image := b.opts.Metadata.Image()
		br, err := nodeOf(image, r)
		if err != nil {
			writeAdminError(w, err)
			return
		}
		if blocked := b.blocked(image, br.Node, state); state == metadata.NodeDecommissioning && len(blocked) > 0 && r.URL.Query().Get("force") != "true" {
			writeJSON(w, http.StatusConflict, struct {
				adminError

				Blocked []blockedPartition `json:"blocked"`
			}{adminError{"some partitions have nowhere to go", protocol.InvalidReplicationFactor.String()}, blocked})
			return
		}
		ctx, cancel := context.WithTimeout(r.Context(), adminTimeout)
		defer cancel()
		if _, err := b.propose(ctx, &metadata.SetNodeState{Node: br.Node, State: state}); err != nil {
			writeAdminError(w, err)
			return
		}
		b.log.Info("node state changed", "node_id", br.Node, "state", string(state))
		b.writeNode(w, br.Node, state)
	}
}

// blocked are the partitions that keep a node from the state: without another replica in sync to lead, or
// without another node to take a replica.
func (b *Broker) blocked(image *metadata.Image, node int32, state metadata.NodeState) []blockedPartition {
	if state == metadata.NodeActive {
		return nil
	}
	var out []blockedPartition
	for _, name := range image.TopicNames() {
		t, _ := image.Topic(name)
		for n := range t.Partitions {
			p := &t.Partitions[n]
			wanted := p.Wanted()
			if !slices.Contains(wanted, node) {
				continue
			}
			reason := ""
			if state == metadata.NodeDecommissioning {
				if !takesReplica(image, wanted, node) {
					reason = "no other node can take its replica"
				}
			} else if view := b.leaderOf(p.Shard, b.partitions.shard(dledgerShard(p.Shard))); view.Leader == node && !slices.ContainsFunc(view.ISR, func(o int32) bool { return o != node }) {
				reason = "no other replica is in sync"
			}
			if reason != "" {
				out = append(out, blockedPartition{t.Name, int32(n), reason}) //nolint:gosec // bounded by the metadata
			}
		}
	}
	return out
}

// takesReplica reports whether some live node could take a replica from one.
func takesReplica(image *metadata.Image, wanted []int32, node int32) bool {
	for _, br := range image.Brokers() {
		if br.Node != node && br.Registered() && br.MayLead() && !slices.Contains(wanted, br.Node) {
			return true
		}
	}
	return false
}

// partitionOf finds the partition of a request.
func partitionOf(image *metadata.Image, r *http.Request) (*metadata.Topic, int32, error) {
	t, ok := image.Topic(r.PathValue("topic"))
	index, err := strconv.ParseInt(r.PathValue("partition"), 10, 32)
	if !ok || err != nil || index < 0 || int(index) >= len(t.Partitions) {
		return nil, 0, &metadata.Error{Code: protocol.UnknownTopicOrPartition, Message: "there is no such partition"}
	}
	return t, int32(index), nil
}

// partitionReport is a partition as /admin/v1/partitions shows it.
type partitionReport struct {
	Topic      string           `json:"topic"`
	Partition  int32            `json:"partition"`
	Shard      metadata.ShardID `json:"shard"`
	Generation int32            `json:"generation"`
	Leader     int32            `json:"leader"`
	Epoch      int32            `json:"leader_epoch"`
	Preferred  int32            `json:"preferred_leader"`
	ISR        []int32          `json:"isr"`
	Target     []int32          `json:"target,omitempty"`
	Recover    bool             `json:"recovery_requested,omitempty"`
	Replicas   []replicaStatus  `json:"replicas"`
}

func (b *Broker) adminPartition(w http.ResponseWriter, r *http.Request) {
	t, index, err := partitionOf(b.opts.Metadata.Image(), r)
	if err != nil {
		writeAdminError(w, err)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), adminTimeout/5)
	defer cancel()
	p := &t.Partitions[index]
	view := b.leaderOf(p.Shard, b.partitions.shard(dledgerShard(p.Shard)))
	writeJSON(w, http.StatusOK, partitionReport{
		Topic: t.Name, Partition: index, Shard: p.Shard, Generation: p.Generation, Leader: view.Leader, Epoch: int32(view.Epoch),
		Preferred: p.PreferredLeader(), ISR: view.ISR, Target: p.Target, Recover: p.Recover, Replicas: b.partitionStatus(ctx, p),
	})
}

func (b *Broker) adminTransfer(w http.ResponseWriter, r *http.Request) {
	t, index, err := partitionOf(b.opts.Metadata.Image(), r)
	to, badNode := strconv.ParseInt(r.URL.Query().Get("to"), 10, 32)
	if err == nil && badNode != nil {
		err = &metadata.Error{Code: protocol.InvalidRequest, Message: "to must be a node id"}
	}
	if err != nil {
		writeAdminError(w, err)
		return
	}
	p := &t.Partitions[index]
	leader := b.leaderOf(p.Shard, b.partitions.shard(dledgerShard(p.Shard))).Leader
	if leader < 0 {
		writeAdminError(w, &metadata.Error{Code: protocol.LeaderNotAvailable, Message: "nobody leads the partition"})
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), adminTimeout)
	defer cancel()
	if err := b.transferLeader(ctx, leader, p.Shard, int32(to)); err != nil {
		writeAdminError(w, &metadata.Error{Code: protocol.IneligibleReplica, Message: err.Error()})
		return
	}
	writeJSON(w, http.StatusOK, map[string]any{"topic": t.Name, "partition": index, "leader": to})
}

func (b *Broker) adminRecover(cancelIt bool) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		t, index, err := partitionOf(b.opts.Metadata.Image(), r)
		if err != nil {
			writeAdminError(w, err)
			return
		}
		ctx, cancel := context.WithTimeout(r.Context(), adminTimeout)
		defer cancel()
		if _, err := b.propose(ctx, &metadata.RecoverPartition{Topic: t.ID, Partition: index, Cancel: cancelIt}); err != nil {
			writeAdminError(w, err)
			return
		}
		writeJSON(w, http.StatusAccepted, map[string]any{"topic": t.Name, "partition": index, "recovery_requested": !cancelIt})
	}
}
