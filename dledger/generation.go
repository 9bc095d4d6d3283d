package dledger

import (
	"fmt"
	"time"

	"github.com/stelemq/stele/commitlog"
	"github.com/stelemq/stele/dledger/journal"
)

// A partition whose majority is gone goes on as a new generation: a new Raft group, founded by one survivor with the log
// that it has, uncommitted entries included, in higher leader epochs. The others come back as learners. An old generation
// that returns finds nobody who listens to its group.

// succeeds reports whether a specification names the generation after that of a directory's replica, founded by this one.
func succeeds(spec *PartitionSpec, file *replicaFile) bool {
	return file.Shard != spec.Shard && file.Generation < spec.Generation && !spec.Join && len(spec.Members) == 1
}

// mayDiscard refuses to make way for an older generation of the same topic: who asks for it knows less than the directory.
func (h *Host) mayDiscard(spec *PartitionSpec, dir string, file *replicaFile) error {
	if file.Generation <= spec.Generation {
		return nil
	}
	id, err := commitlog.TopicID(h.opts.FS, dir)
	if err != nil {
		return fmt.Errorf("%s holds generation %d: %w", dir, file.Generation, err)
	}
	if id != spec.TopicID {
		return nil // of a topic that is gone
	}
	return fmt.Errorf("%w: %s has generation %d, not %d", ErrOldGeneration, dir, file.Generation, spec.Generation)
}

// adopt makes a directory's log that of a new generation. The directory must be of the same topic. It may be cut short
// anywhere: until replica.json names the new group nothing has changed, and from then on the replica counts as the damaged
// only one, which is salvaged to the same end.
func (h *Host) adopt(spec PartitionSpec, dir string, file *replicaFile) (*shardLog, error) {
	old := journal.Key{Shard: file.Shard, Replica: file.Replica}
	if s := h.takeRecovered(old); s != nil {
		h.journal.Forget(s)
		if err := s.close(); err != nil {
			return nil, err
		}
	}
	found, err := h.remains(dir, old)
	if err != nil {
		return nil, err
	}
	s, err := h.beginAnew(spec, dir, found, fmt.Sprintf(".generation-%d", file.Generation))
	if err != nil {
		return nil, fmt.Errorf("new generation %d: %w", spec.Generation, err)
	}
	h.forgetPending(old)
	h.logger.Warn("partition goes on as a new generation, with what this replica has", "topic", spec.Topic, "partition", spec.Partition,
		"generation", spec.Generation, "log_end", s.log.End().Next)
	return s, nil
}

// HeardController notes that the controller has answered a message that was sent at that time: it counts this node as
// alive at least since then.
func (h *Host) HeardController(sent time.Time) {
	at := int64(sent.Sub(began)) + 1
	for old := h.controllerAt.Load(); at > old && !h.controllerAt.CompareAndSwap(old, at); old = h.controllerAt.Load() {
	}
}

// HoldAcknowledgements has nothing acknowledged for d, should this replica lead: a new generation may begin from what it
// has been asked for (Survey). It never shortens an earlier one.
func (p *Partition) HoldAcknowledgements(d time.Duration) {
	until := monotonic() + int64(d)
	for old := p.holdUntil.Load(); until > old && !p.holdUntil.CompareAndSwap(old, until); old = p.holdUntil.Load() {
	}
}

// fenced reports whether the controller may have taken this node for gone and begun a new generation without it.
func (p *Partition) fenced() bool {
	if until := p.holdUntil.Load(); until > 0 && monotonic() < until {
		return true
	}
	lease := p.host.opts.ControllerLease
	return lease > 0 && p.config.Load().UncleanLeaderElection && monotonic()-p.host.controllerAt.Load() > int64(lease)
}
