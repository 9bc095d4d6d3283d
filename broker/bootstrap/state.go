package bootstrap

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/stelemq/stele/broker/metadata"
	"github.com/stelemq/stele/internal/vfs"
)

const lockName = ".node.lock"

// Peer is a founder as the settings name it.
type Peer struct {
	Node    int32
	Address string
}

// Settings are what the operator says of this node.
type Settings struct {
	// NodeID is -1 where nothing is said, ClusterID then empty.
	NodeID    int32
	ClusterID string
	// NodeOrigin and ClusterOrigin say where they were set, for messages.
	NodeOrigin, ClusterOrigin string
	// Founders is cluster.peers, by node id.
	Founders []Peer
	// Join is cluster.join: members of the cluster to join.
	Join []string
}

// State is a node's identity and what it knows of the others, as its directory keeps it. All methods are safe for
// concurrent use.
type State struct {
	dir      string
	settings Settings
	unlock   func() error

	mu sync.Mutex
	// mu guards:
	id    Identity
	peers peersFile
	newer newerGroup
	// judge has the metadata that says who is not part of the cluster any more; nil: nobody does.
	judge *metadata.Machine
	// incarnation is this start's, empty before Begin.
	incarnation string
}

// Open locks a data directory, which it makes if it is not there, and reads who it belongs to. A new directory gets an
// id; it is kept when something is decided. Errors: vfs.ErrLocked, ErrDirectory.
func Open(dir string, settings Settings) (*State, error) {
	s := &State{dir: dir, settings: settings, newer: newerGroup{heard: make(chan struct{}, 1)}}
	if err := s.read(); err != nil { // whose it is matters more than who uses it
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, err //nolint:wrapcheck // says operation and path
	}
	unlock, err := vfs.OS{}.Lock(filepath.Join(dir, lockName))
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", dir, err)
	}
	s.unlock = unlock
	if err := s.read(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// LockFile is the file that Open locks, for messages.
func LockFile(dir string) string { return filepath.Join(dir, lockName) }

// Close unlocks the directory. Idempotent.
func (s *State) Close() error {
	s.mu.Lock()
	unlock := s.unlock
	s.unlock = nil
	s.mu.Unlock()
	if unlock == nil {
		return nil
	}
	return unlock()
}

func (s *State) read() error {
	id, kept, err := ReadIdentity(s.dir)
	if err != nil {
		return err
	}
	peers, err := readPeers(s.dir)
	if err != nil {
		return err
	}
	_, statErr := os.Stat(filepath.Join(s.dir, "raft"))
	used := statErr == nil
	if !kept && peers != nil { // meta.properties was lost: peers.json says the same
		id, kept = Identity{peers.NodeID, peers.ClusterID, peers.DirectoryID, peers.Replica, peers.Group}, true
	}
	if peers == nil {
		peers = &peersFile{}
	}
	if !kept {
		if used && (len(s.settings.Founders) > 1 || len(s.settings.Join) > 0) {
			return fmt.Errorf("%w: %s holds data but neither %s nor %s. Restore one of them, or move the directory away: then the node comes back empty and gets its data from the others",
				ErrDirectory, s.dir, MetaName, PeersName)
		}
		id = Identity{NodeID: s.settings.NodeID} // a cluster it has when it is a member of one
	}
	if err := s.settings.check(s.dir, id, kept); err != nil {
		return err
	}
	if id.DirectoryID == "" {
		id.DirectoryID = NewID()
	}
	s.id, s.peers = id, *peers
	if (kept || used) && id.MetadataReplica == 0 && (used || id.ClusterID != "") {
		s.adopt()
	}
	return nil
}

// adopt takes a directory of a version that knew no clusters for that of a lone founder.
func (s *State) adopt() {
	if s.id.NodeID < 0 {
		s.id.NodeID = ordinal()
	}
	s.id.MetadataReplica = 1
	s.peers.Founding = &Founding{ClusterID: s.id.ClusterID, Founders: []int32{s.id.NodeID}, Directories: map[int32]string{s.id.NodeID: s.id.DirectoryID}}
}

// check refuses a directory that the settings contradict.
func (c *Settings) check(dir string, id Identity, kept bool) error {
	switch {
	case !kept:
		return nil
	case c.NodeID >= 0 && c.NodeID != id.NodeID:
		return fmt.Errorf("%w: %s belongs to node %d, but node.id is %d (%s). Set node.id=%d, or log.dirs to this node's own directory",
			ErrDirectory, dir, id.NodeID, c.NodeID, c.NodeOrigin, id.NodeID)
	case c.ClusterID != "" && id.ClusterID != "" && c.ClusterID != id.ClusterID:
		return fmt.Errorf("%w: %s belongs to cluster %s, but cluster.id is %s (%s). Set cluster.id=%s, or log.dirs to a directory of that cluster",
			ErrDirectory, dir, id.ClusterID, c.ClusterID, c.ClusterOrigin, id.ClusterID)
	}
	return nil
}

// NewID returns a random id in Kafka's form, a UUID in base64.
func NewID() string {
	var b [16]byte
	for {
		_, _ = rand.Read(b[:])                      // never fails
		b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80 // version 4
		if id := base64.RawURLEncoding.EncodeToString(b[:]); id[0] != '-' {
			return id // a leading dash is taken for a flag
		}
	}
}

// Identity of this node; MetadataReplica is 0 until it is a member of a cluster.
func (s *State) Identity() Identity {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.id
}

// Member reports whether this node belongs to a cluster.
func (s *State) Member() bool { return s.Identity().MetadataReplica != 0 }

// Founders are the first replicas of the metadata and their nodes, as the founding of this node's cluster says; nil on a
// node that joined.
func (s *State) Founders() map[uint64]int32 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f := s.peers.Founding; f != nil && f.Group == s.id.MetadataGroup && f.replicaOf(s.id.NodeID, s.id.DirectoryID) == s.id.MetadataReplica {
		return f.Replicas()
	}
	return nil
}

// Known are the other nodes' replicas of the metadata, as far as is known.
func (s *State) Known() map[uint64]int32 {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := map[uint64]int32{}
	for _, n := range s.peers.Nodes {
		if n.Replica != 0 && n.ID != s.id.NodeID {
			out[n.Replica] = n.ID
		}
	}
	return out
}

// Addresses are the Raft addresses of the other nodes: cluster.peers, else what was known last.
func (s *State) Addresses() map[int32]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := map[int32]string{}
	for _, n := range s.peers.Nodes {
		if n.Address != "" {
			out[n.ID] = n.Address
		}
	}
	for _, p := range s.settings.Founders {
		out[p.Node] = p.Address
	}
	delete(out, s.id.NodeID)
	return out
}

// Own is this node's entry of cluster.peers.
func (s *State) Own() (Peer, bool) {
	id := s.Identity().NodeID
	if id < 0 {
		id = ordinal()
	}
	i := slices.IndexFunc(s.settings.Founders, func(p Peer) bool { return p.Node == id })
	if i < 0 {
		return Peer{}, false
	}
	return s.settings.Founders[i], true
}

// Learn keeps what has become known of nodes and returns the addresses that are new. What is older than what is known,
// by Epoch, is left alone; cluster.peers is stronger than anything learnt.
func (s *State) Learn(nodes []Node) (changed map[int32]string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	changed, dirty := s.learnLocked(nodes)
	if !dirty || s.id.MetadataReplica == 0 {
		return changed, nil
	}
	return changed, s.writePeersLocked()
}

func (s *State) learnLocked(nodes []Node) (changed map[int32]string, dirty bool) {
	changed = map[int32]string{}
	for _, n := range nodes {
		i := slices.IndexFunc(s.peers.Nodes, func(o Node) bool { return o.ID == n.ID })
		if i < 0 {
			i = len(s.peers.Nodes)
			s.peers.Nodes = append(s.peers.Nodes, Node{ID: n.ID})
		}
		o := &s.peers.Nodes[i]
		if n.Epoch < o.Epoch {
			continue
		}
		next := *o
		next.Epoch = n.Epoch
		if n.Address != "" {
			next.Address = n.Address
		}
		if n.Replica != 0 {
			next.Replica = n.Replica
		}
		if n.Directory != "" {
			next.Directory, next.Incarnation = n.Directory, n.Incarnation
		}
		if next == *o {
			continue
		}
		if next.Address != o.Address && n.ID != s.id.NodeID && !s.pinned(n.ID) {
			changed[n.ID] = next.Address
		}
		*o, dirty = next, true
	}
	return changed, dirty
}

// pinned reports whether cluster.peers says where a node is.
func (s *State) pinned(node int32) bool {
	return slices.ContainsFunc(s.settings.Founders, func(p Peer) bool { return p.Node == node })
}

// SetCluster keeps the id of the cluster where it was not known before.
func (s *State) SetCluster(id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.id.ClusterID = id
	if f := s.peers.Founding; f != nil && f.ClusterID == "" {
		f.ClusterID = id
	}
	return s.writeLocked()
}

// Write keeps all that is known.
func (s *State) Write() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.writeLocked()
}

// writeLocked writes meta.properties last: with it the directory is a member's.
func (s *State) writeLocked() error {
	if err := s.writePeersLocked(); err != nil {
		return err
	}
	return writeIdentity(s.dir, s.id)
}

func (s *State) writePeersLocked() error {
	p := &s.peers
	p.NodeID, p.ClusterID, p.DirectoryID, p.Replica, p.Group = s.id.NodeID, s.id.ClusterID, s.id.DirectoryID, s.id.MetadataReplica, s.id.MetadataGroup
	return writePeers(s.dir, p)
}

// ordinal is the number at the end of the host's name, as a stateful set gives it; 1 if there is none.
func ordinal() int32 {
	if n := hostOrdinal(); n >= 0 {
		return n
	}
	return 1
}

// hostOrdinal is ordinal, -1 if there is none.
func hostOrdinal() int32 {
	host, err := os.Hostname()
	if err != nil {
		return -1
	}
	return ordinalOf(host)
}

func ordinalOf(host string) int32 {
	name, _, _ := strings.Cut(host, ".")
	m := regexp.MustCompile(`-(\d{1,9})$`).FindStringSubmatch(name)
	if m == nil {
		return -1
	}
	n, err := strconv.ParseInt(m[1], 10, 32)
	if err != nil {
		return -1
	}
	return int32(n)
}
