package dledger

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"path/filepath"

	pb "github.com/lni/dragonboat/v4/raftpb"

	"github.com/stelemq/stele/dledger/raftfile"
	"github.com/stelemq/stele/internal/vfs"
	"github.com/stelemq/stele/protocol/record"
)

const (
	replicaFileName    = "replica.json"
	replicaFileVersion = 1
)

// replicaFile is a partition replica's state as of an index: what the entry records up to it had built up.
// It names the shard that the directory belongs to. Format: docs/format/raft.md.
type replicaFile struct {
	Version    int       `json:"version"`
	Shard      ShardID   `json:"shard"`
	Replica    ReplicaID `json:"replica"`
	Generation int32     `json:"generation"`
	Bootstrap  string    `json:"bootstrap,omitempty"` // base64 of dragonboat's record
	// Index, Term: the state below is that after this entry; 0 = nothing yet.
	Index      Index         `json:"index"`
	Term       Term          `json:"term"`
	Membership string        `json:"membership,omitempty"` // base64 of dragonboat's record
	LogStart   record.Offset `json:"log_start"`
	Next       record.Offset `json:"next"`
	Segment    record.Offset `json:"segment"`
	Position   int64         `json:"position"`
	Fence      fence         `json:"fence"`
	// Damaged is why the replica may not be used any more; DamagedFile is where, if that is known.
	Damaged     string `json:"damaged,omitempty"`
	DamagedFile string `json:"damaged_file,omitempty"`
	Checksum    string `json:"checksum,omitempty"`
}

func (f *replicaFile) sum() (string, error) {
	c := *f
	c.Checksum = ""
	b, err := json.Marshal(&c)
	if err != nil {
		return "", fmt.Errorf("encode %s: %w", replicaFileName, err)
	}
	var s [4]byte
	binary.BigEndian.PutUint32(s[:], raftfile.Castagnoli(0, b))
	return base64.StdEncoding.EncodeToString(s[:]), nil
}

func readReplicaFile(fsys vfs.FS, dir string) (*replicaFile, error) {
	name := filepath.Join(dir, replicaFileName)
	b, err := vfs.ReadFile(fsys, name)
	if err != nil {
		return nil, err
	}
	var f replicaFile
	if err := json.Unmarshal(b, &f); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrCorrupt, name, err)
	}
	if f.Version > replicaFileVersion {
		return nil, fmt.Errorf("%w: %s version %d", ErrUnsupportedVersion, name, f.Version)
	}
	want, err := f.sum()
	if err != nil {
		return nil, err
	}
	if f.Checksum != want {
		return nil, fmt.Errorf("%w: %s does not check", ErrCorrupt, name)
	}
	return &f, nil
}

func writeReplicaFile(fsys vfs.FS, dir string, f *replicaFile) error {
	f.Version = replicaFileVersion
	sum, err := f.sum()
	if err != nil {
		return err
	}
	f.Checksum = sum
	b, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		return fmt.Errorf("encode %s: %w", replicaFileName, err)
	}
	return vfs.WriteFileAtomic(fsys, dir, replicaFileName, append(b, '\n'))
}

type marshaler interface{ Marshal() ([]byte, error) }

func toBase64(m marshaler) (string, error) {
	b, err := m.Marshal()
	if err != nil {
		return "", fmt.Errorf("encode: %w", err)
	}
	return base64.StdEncoding.EncodeToString(b), nil
}

func fromBase64(s string, m interface{ Unmarshal([]byte) error }) error {
	b, err := base64.StdEncoding.DecodeString(s)
	if err == nil {
		err = m.Unmarshal(b)
	}
	if err != nil {
		return fmt.Errorf("%w: %s: %w", ErrCorrupt, replicaFileName, err)
	}
	return nil
}

// applyConfigChange folds a committed membership change into m, as dragonboat's own state machine does.
func applyConfigChange(m *pb.Membership, index Index, payload []byte) error {
	var cc pb.ConfigChange
	if err := cc.Unmarshal(payload); err != nil {
		return fmt.Errorf("%w: configuration change %d: %w", ErrCorrupt, index, err)
	}
	if m.Addresses == nil {
		m.Addresses = make(map[uint64]string)
	}
	if m.NonVotings == nil {
		m.NonVotings = make(map[uint64]string)
	}
	if m.Witnesses == nil {
		m.Witnesses = make(map[uint64]string)
	}
	if m.Removed == nil {
		m.Removed = make(map[uint64]bool)
	}
	if m.Removed[cc.ReplicaID] {
		return nil // ids are never reused
	}
	m.ConfigChangeId = uint64(index)
	switch cc.Type {
	case pb.AddNode:
		delete(m.NonVotings, cc.ReplicaID)
		m.Addresses[cc.ReplicaID] = cc.Address
	case pb.AddNonVoting:
		m.NonVotings[cc.ReplicaID] = cc.Address
	case pb.AddWitness:
		m.Witnesses[cc.ReplicaID] = cc.Address
	case pb.RemoveNode:
		delete(m.Addresses, cc.ReplicaID)
		delete(m.NonVotings, cc.ReplicaID)
		delete(m.Witnesses, cc.ReplicaID)
		m.Removed[cc.ReplicaID] = true
	}
	return nil
}
