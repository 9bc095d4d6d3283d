package dledger

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/lni/dragonboat/v4"
)

// When the majority of the metadata's voters is gone for ever, the metadata goes on as a new Raft group, founded by one
// survivor (metadata_recover.go). The others leave the old group and join the new one; an old group that comes back is
// not listened to by whoever knows of the new one.

// metadataGroups is the first id of the groups behind MetadataShard: far above what partitions ever get.
const metadataGroups ShardID = 1 << 62

// isMetadata reports whether a group replicates the cluster metadata, now or in former times.
func isMetadata(s ShardID) bool { return s == MetadataShard || s >= metadataGroups }

// MetadataRecoveries is how often the metadata had been recovered when a group was founded: the greater one holds.
func MetadataRecoveries(group ShardID) uint32 {
	if group < metadataGroups {
		return 0
	}
	return uint32((group - metadataGroups) >> 32) //nolint:gosec // bits 32 to 61
}

// NextMetadataGroup names a new group that takes the place of another. No two calls return the same: of two operators who
// recover the same cluster on different nodes each gets a group of their own, and nodes of one do not mistake the other's
// for theirs.
func NextMetadataGroup(after ShardID) ShardID {
	var b [4]byte
	_, _ = rand.Read(b[:]) // never fails
	return metadataGroups | ShardID(MetadataRecoveries(after)+1)<<32 | ShardID(binary.BigEndian.Uint32(b[:]))
}

func (h *Host) setMetadata(spec MetadataSpec) {
	if spec.Group == 0 {
		spec.Group = MetadataShard
	}
	h.leftMeta.Store(spec.Left)
	h.meta.Store(&spec)
}

func (h *Host) metadata() *MetadataSpec { return h.meta.Load() }

func (h *Host) metadataGroup() ShardID { return h.metadata().Group }

// speaksMetadata reports whether messages of a metadata group are sent and taken.
func (h *Host) speaksMetadata(s ShardID) bool { return s == h.metadataGroup() && !h.leftMeta.Load() }

// LeaveMetadata silences this node's part of its metadata group, because a newer one has taken its place: it gives no vote,
// hears no command, and keeps what it has until FollowMetadata.
func (h *Host) LeaveMetadata() { h.leftMeta.Store(true) }

// FollowMetadata makes this node a replica of another metadata group, which it has joined. The state machine keeps its
// state until that of the new group replaces it; partitions are not touched. Errors: ErrClosed.
func (h *Host) FollowMetadata(spec MetadataSpec) error {
	h.moveMeta.Lock()
	defer h.moveMeta.Unlock()
	h.LeaveMetadata()
	if h.ctx.Err() != nil {
		return ErrClosed
	}
	if err := h.stopMetadata(); err != nil {
		return err
	}
	h.registry.RemoveShard(uint64(h.metadataGroup()))
	h.setMetadata(spec)
	return h.startMetadata()
}

// stopMetadata stops this node's replica of the metadata and waits until nobody applies commands any more.
func (h *Host) stopMetadata() error {
	group := h.metadataGroup()
	gone := h.events.await(group)
	if err := h.nodes.StopShard(uint64(group)); errors.Is(err, dragonboat.ErrShardNotFound) {
		return nil // it was removed, and stopped by itself
	} else if err != nil {
		return fmt.Errorf("stop metadata: %w", err)
	}
	select {
	case <-gone:
		return nil
	case <-time.After(unloadTimeout):
		return fmt.Errorf("dledger: metadata group %d does not stop", group)
	}
}
