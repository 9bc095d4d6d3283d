package transport

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// The handshake: the side that dials sends a greeting, the other answers with a welcome. Both are
//
//	magic "STL1" (4 bytes) | length (uint32, big endian) | JSON
//
// and are followed by the frames of the lane. A welcome with an error is the last thing that is sent. The last byte of the
// magic is the version of everything that follows.

const (
	magic        = "STL1"
	greetingMax  = 4096
	greetTimeout = 5 * time.Second
)

// laneKind says what a connection carries.
type laneKind string

const (
	laneData     laneKind = "data"
	laneControl  laneKind = "control"
	laneSnapshot laneKind = "snapshot"
	laneCalls    laneKind = "calls"
	laneBulk     laneKind = "bulk" // calls with large answers, out of the way of the others
)

// raft reports whether the lane carries Raft's messages in order.
func (k laneKind) raft() bool { return k == laneData || k == laneControl }

// calls reports whether the lane carries calls.
func (k laneKind) calls() bool { return k == laneCalls || k == laneBulk }

type greeting struct {
	Cluster string `json:"cluster,omitempty"` // empty: not known yet
	Node    int32  `json:"node"`              // -1: not known yet
	// To is who is meant; -1: whoever answers.
	To          int32    `json:"to"`
	Incarnation string   `json:"incarnation"`
	Lane        laneKind `json:"lane"`
}

type welcome struct {
	Cluster     string `json:"cluster,omitempty"`
	Node        int32  `json:"node"`
	Incarnation string `json:"incarnation"`
	Error       string `json:"error,omitempty"`
	// Starting: the error will pass by itself.
	Starting bool `json:"starting,omitempty"`
}

// greet introduces this node on a connection that it has opened. Errors: ErrForeign, ErrStarting, ErrProtocol, the
// connection's.
func (t *Transport) greet(c net.Conn, as *identity, to int32, lane laneKind) (*welcome, error) {
	g := greeting{Cluster: as.cluster, Node: as.node, To: to, Incarnation: t.incarnation, Lane: lane}
	if err := writeHello(c, &g); err != nil {
		return nil, err
	}
	var w welcome
	if err := readHello(c, &w); err != nil {
		return nil, err
	}
	switch {
	case w.Starting:
		return nil, fmt.Errorf("%w: %s", ErrStarting, w.Error)
	case w.Error != "":
		return nil, fmt.Errorf("%w: %s", ErrForeign, w.Error)
	case as.cluster != "" && w.Cluster != "" && w.Cluster != as.cluster:
		return nil, fmt.Errorf("%w: %s", ErrForeign, foreignCluster(as.node, as.cluster, w.Node, w.Cluster))
	case to >= 0 && w.Node != to:
		return nil, fmt.Errorf("%w: node %d answers where node %d was expected", ErrForeign, w.Node, to)
	case !lane.calls() && w.Cluster != as.cluster:
		return nil, fmt.Errorf("%w: node %d does not know its cluster yet", ErrStarting, w.Node)
	}
	return &w, nil
}

// refusal is why a connection is not accepted, in words that hold for both sides.
type refusal struct {
	class error // ErrForeign or ErrStarting
	text  string
}

func (r *refusal) Error() string { return r.class.Error() + ": " + r.text }
func (r *refusal) Unwrap() error { return r.class }

func refuse(class error, format string, args ...any) *refusal {
	return &refusal{class, fmt.Sprintf(format, args...)}
}

func foreignCluster(from int32, cluster string, to int32, other string) string {
	return fmt.Sprintf("node %d belongs to cluster %s, but was called by node %d of cluster %s", to, other, from, cluster)
}

// judge decides whether one who greets may speak to this node, who it is being who; nil if so. Raft lanes are for nodes of
// the same cluster; calls are judged one by one.
func (t *Transport) judge(who *identity, g *greeting) *refusal {
	switch {
	case g.Cluster != "" && who.cluster != "" && g.Cluster != who.cluster:
		return refuse(ErrForeign, "%s", foreignCluster(g.Node, g.Cluster, who.node, who.cluster))
	case g.To >= 0 && g.To != who.node:
		return refuse(ErrForeign, "node %d answers here, not node %d", who.node, g.To)
	case g.Node >= 0 && g.Node == who.node && g.Incarnation != t.incarnation && (g.member(who) || !g.Lane.calls()):
		// Of a guest the handler of his call can say more.
		return refuse(ErrForeign, "two processes call themselves node %d; each needs an id of its own", who.node)
	case g.Lane.calls():
		return nil
	case !g.Lane.raft() && g.Lane != laneSnapshot:
		return refuse(ErrForeign, "node %d knows no lane %q", who.node, g.Lane)
	case who.cluster == "":
		return refuse(ErrStarting, "node %d does not know its cluster yet", who.node)
	case !g.member(who):
		return refuse(ErrForeign, "node %d takes Raft's messages from nodes of cluster %s only", who.node, who.cluster)
	case t.raft.Load() == nil:
		return refuse(ErrStarting, "node %d has not opened its logs yet", who.node)
	}
	return nil
}

func writeHello(w io.Writer, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("greet: %w", err)
	}
	if len(b) > greetingMax {
		return fmt.Errorf("greet: %d bytes are too many", len(b))
	}
	out := binary.BigEndian.AppendUint32([]byte(magic), uint32(len(b))) //nolint:gosec // some hundred bytes
	if _, err := w.Write(append(out, b...)); err != nil {
		return fmt.Errorf("greet: %w", err)
	}
	return nil
}

func readHello(r io.Reader, v any) error {
	var h [8]byte
	if _, err := io.ReadFull(r, h[:]); err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return fmt.Errorf("%w: it hung up", ErrProtocol)
		}
		return fmt.Errorf("greeting: %w", err)
	}
	n := binary.BigEndian.Uint32(h[4:])
	switch {
	case string(h[:3]) == magic[:3] && h[3] != magic[3]:
		return fmt.Errorf("%w: it speaks version %q, this program version %q", ErrProtocol, h[3], magic[3])
	case string(h[:4]) != magic || n > greetingMax:
		return ErrProtocol
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(r, b); err != nil {
		return fmt.Errorf("greeting: %w", err)
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("%w: %w", ErrProtocol, err)
	}
	return nil
}
