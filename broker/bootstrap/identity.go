package bootstrap

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

const (
	// MetaName is the file in which a data directory says whose it is, as Kafka's does.
	MetaName    = "meta.properties"
	metaVersion = "1"
	// PeersName is the file of what is known of the other nodes.
	PeersName    = "peers.json"
	peersVersion = 1
)

// ErrDirectory: the data directory is not this node's, or not whole.
var ErrDirectory = errors.New("data directory")

// Identity is who owns a data directory.
type Identity struct {
	NodeID int32
	// ClusterID is empty until the cluster is known.
	ClusterID string
	// DirectoryID names the directory: a new disk has another one. Empty in directories of older versions.
	DirectoryID string
	// MetadataReplica is this node's replica of the metadata; 0: not a member of a cluster yet.
	MetadataReplica uint64
	// MetadataGroup is the Raft group of that replica; 0: the first of the cluster.
	MetadataGroup uint64
}

// Node is what is known of a node.
type Node struct {
	ID int32 `json:"node"`
	// Address is its Raft address.
	Address string `json:"raft_address,omitempty"`
	// Replica is its replica of the metadata, 0 if not known.
	Replica uint64 `json:"metadata_replica,omitempty"`
	// Epoch is that of the registration which said so, 0 for anything older.
	Epoch uint64 `json:"epoch,omitempty"`
	// Directory is its data directory, and Incarnation the last start of it that was registered; empty: not known.
	Directory   string `json:"directory_id,omitempty"`
	Incarnation string `json:"incarnation,omitempty"`
}

// Founding is how a cluster began.
type Founding struct {
	ClusterID string `json:"cluster_id"`
	// Group is the metadata group that was founded; 0: the first.
	Group uint64 `json:"metadata_group,omitempty"`
	// Founders in the order of their ids: the i-th, from 0, has the replica i+1.
	Founders []int32 `json:"founders"`
	// Directories of those that took part, by node id.
	Directories map[int32]string `json:"directories"`
}

// Replicas returns the founders' replicas of the metadata and their nodes.
func (f *Founding) Replicas() map[uint64]int32 {
	out := make(map[uint64]int32, len(f.Founders))
	for i, n := range f.Founders {
		out[uint64(i)+1] = n //nolint:gosec // not negative
	}
	return out
}

// replicaOf returns the founder's replica that belongs to a directory, 0 if none does.
func (f *Founding) replicaOf(node int32, directory string) uint64 {
	if f == nil || f.Directories[node] != directory || directory == "" {
		return 0
	}
	for replica, n := range f.Replicas() {
		if n == node {
			return replica
		}
	}
	return 0
}

// peersFile is peers.json: the nodes, and what meta.properties says once more.
type peersFile struct {
	Version     int       `json:"version"`
	NodeID      int32     `json:"node"`
	ClusterID   string    `json:"cluster_id,omitempty"`
	DirectoryID string    `json:"directory_id"`
	Replica     uint64    `json:"metadata_replica,omitempty"`
	Group       uint64    `json:"metadata_group,omitempty"`
	Founding    *Founding `json:"founding,omitempty"`
	Bound       bound     `json:"bound,omitzero"`
	Nodes       []Node    `json:"nodes,omitempty"`
	// Starts are the incarnations of this directory, the newest last (starts.go).
	Starts []string `json:"starts,omitempty"`
	// Registered: one of them is known to have been registered. Before, the list proves nothing: the directory may be older than it.
	Registered bool `json:"registered,omitempty"`
	// Promise is what this node has promised and accepted as a founder (promise.go).
	Promise *promise `json:"promise,omitempty"`
	// Removed is why the directory is not part of the cluster any more, and RemovedBy the address of who has said so (removed.go).
	Removed   string `json:"removed,omitempty"`
	RemovedBy string `json:"removed_by,omitempty"`
}

// bound is the Raft address that was used last.
type bound struct {
	Listen     string `json:"listen"`
	Advertised string `json:"advertised"`
	// Named by the settings, not found out: the others count on it.
	Named bool `json:"named,omitempty"`
}

// ReadIdentity reads meta.properties; ok is false if there is none.
func ReadIdentity(dir string) (id Identity, ok bool, err error) {
	path := filepath.Join(dir, MetaName)
	text, err := os.ReadFile(path) //nolint:gosec // the operator names the directory
	if errors.Is(err, fs.ErrNotExist) {
		return Identity{}, false, nil
	}
	if err != nil {
		return Identity{}, false, err //nolint:wrapcheck // says operation and path
	}
	values := map[string]string{}
	for line := range strings.Lines(string(text)) {
		if key, value, found := strings.Cut(strings.TrimSpace(line), "="); found && !strings.HasPrefix(key, "#") {
			values[strings.TrimSpace(key)] = strings.TrimSpace(value)
		}
	}
	if v := values["version"]; v != metaVersion {
		return Identity{}, false, fmt.Errorf("%s has version %q, and this program knows version %s: it was written by a newer program", path, v, metaVersion)
	}
	n, err := strconv.ParseInt(values["node.id"], 10, 32)
	if err != nil || n < 0 {
		return Identity{}, false, fmt.Errorf("%s: node.id is %q, not a number; restore the file from a backup, or remove it to have it written anew", path, values["node.id"])
	}
	id = Identity{NodeID: int32(n), ClusterID: values["cluster.id"], DirectoryID: values["directory.id"]}
	if r := values["metadata.replica"]; r != "" {
		if id.MetadataReplica, err = strconv.ParseUint(r, 10, 64); err != nil {
			return Identity{}, false, fmt.Errorf("%s: metadata.replica is %q, not a number; restore the file from a backup", path, r)
		}
	}
	if g := values["metadata.group"]; g != "" {
		if id.MetadataGroup, err = strconv.ParseUint(g, 10, 64); err != nil {
			return Identity{}, false, fmt.Errorf("%s: metadata.group is %q, not a number; restore the file from a backup", path, g)
		}
	}
	return id, true, nil
}

func writeIdentity(dir string, id Identity) error {
	text := fmt.Sprintf("version=%s\nnode.id=%d\n", metaVersion, id.NodeID)
	if id.ClusterID != "" {
		text += "cluster.id=" + id.ClusterID + "\n"
	}
	if id.DirectoryID != "" {
		text += "directory.id=" + id.DirectoryID + "\n"
	}
	if id.MetadataReplica != 0 {
		text += fmt.Sprintf("metadata.replica=%d\n", id.MetadataReplica)
	}
	if id.MetadataGroup != 0 {
		text += fmt.Sprintf("metadata.group=%d\n", id.MetadataGroup)
	}
	return replaceFile(dir, MetaName, text)
}

// readPeers reads peers.json; without one it returns nil.
func readPeers(dir string) (*peersFile, error) {
	path := filepath.Join(dir, PeersName)
	text, err := os.ReadFile(path) //nolint:gosec // the operator names the directory
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil //nolint:nilnil // there is none
	}
	if err != nil {
		return nil, err //nolint:wrapcheck // says operation and path
	}
	var f peersFile
	if err := json.Unmarshal(text, &f); err != nil {
		return nil, fmt.Errorf("%s: %w; restore the file from a backup", path, err)
	}
	if f.Version > peersVersion {
		return nil, fmt.Errorf("%s has version %d, and this program knows version %d: it was written by a newer program", path, f.Version, peersVersion)
	}
	return &f, nil
}

func writePeers(dir string, f *peersFile) error {
	f.Version = peersVersion
	text, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		return fmt.Errorf("encode %s: %w", PeersName, err)
	}
	return replaceFile(dir, PeersName, string(text)+"\n")
}

// replaceFile replaces a file atomically and durably.
func replaceFile(dir, name, text string) error {
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path+".tmp", []byte(text), 0o600); err != nil {
		return err //nolint:wrapcheck // says operation and path
	}
	if err := syncPath(path + ".tmp"); err != nil {
		return err
	}
	if err := os.Rename(path+".tmp", path); err != nil {
		return err //nolint:wrapcheck // says operation and paths
	}
	return syncPath(dir)
}

func syncPath(path string) error {
	f, err := os.Open(path) //nolint:gosec // the operator names the directory
	if err != nil {
		return err //nolint:wrapcheck // says operation and path
	}
	return errors.Join(f.Sync(), f.Close())
}
