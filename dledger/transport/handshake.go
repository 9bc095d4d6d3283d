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
// and are followed by the frames of the lane. A welcome with an error is the last thing that is sent.

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
}

// greet introduces this node on a connection that it has opened. Errors: ErrForeign, ErrProtocol, the connection's.
func (t *Transport) greet(c net.Conn, to int32, lane laneKind) (*welcome, error) {
	cluster := t.ClusterID()
	g := greeting{Cluster: cluster, Node: t.NodeID(), To: to, Incarnation: t.incarnation, Lane: lane}
	if err := writeHello(c, &g); err != nil {
		return nil, err
	}
	var w welcome
	if err := readHello(c, &w); err != nil {
		return nil, err
	}
	switch {
	case w.Error != "":
		return nil, fmt.Errorf("%w: %s", ErrForeign, w.Error)
	case cluster != "" && w.Cluster != "" && w.Cluster != cluster:
		return nil, fmt.Errorf("%w: %s", ErrForeign, clusterMismatch(w.Cluster, cluster))
	case to >= 0 && w.Node != to:
		return nil, fmt.Errorf("%w: node %d answers where node %d was expected", ErrForeign, w.Node, to)
	}
	return &w, nil
}

func clusterMismatch(theirs, ours string) string {
	return fmt.Sprintf("it belongs to cluster %s, this node to cluster %s", theirs, ours)
}

// receive reads a greeting and answers it. Raft lanes are for nodes of the same cluster; calls are judged one by one.
func (t *Transport) receive(c net.Conn) (*greeting, error) {
	_ = c.SetDeadline(time.Now().Add(greetTimeout))
	var g greeting
	if err := readHello(c, &g); err != nil {
		return nil, err
	}
	w := welcome{Cluster: t.ClusterID(), Node: t.NodeID(), Incarnation: t.incarnation}
	switch {
	case g.Cluster != "" && w.Cluster != "" && g.Cluster != w.Cluster:
		w.Error = clusterMismatch(w.Cluster, g.Cluster)
	case g.To >= 0 && g.To != w.Node:
		w.Error = fmt.Sprintf("node %d answers here, not node %d", w.Node, g.To)
	case g.Lane != laneCalls && (g.Cluster != w.Cluster || g.Node < 0):
		w.Error = "this node does not know its cluster yet"
	}
	if err := writeHello(c, &w); err != nil {
		return nil, err
	}
	if w.Error != "" {
		return nil, fmt.Errorf("%w: node %d of cluster %q: %s", ErrForeign, g.Node, g.Cluster, w.Error)
	}
	_ = c.SetDeadline(time.Time{})
	return &g, nil
}

func writeHello(w io.Writer, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("greet: %w", err)
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
	if string(h[:4]) != magic || n > greetingMax {
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
