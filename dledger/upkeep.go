package dledger

import (
	"context"
	"time"
)

const (
	flushTick = 100 * time.Millisecond
	// expireTick is how often leaders look for producers to forget (producer.id.expiration.check.interval.ms).
	expireTick    = 10 * time.Minute
	expireTimeout = 10 * time.Second
)

// flusher syncs relaxed partitions every flush.ms.
func (h *Host) flusher() {
	tick := time.NewTicker(flushTick)
	defer tick.Stop()
	for {
		select {
		case <-h.ctx.Done():
			return
		case now := <-tick.C:
			for _, p := range h.all() {
				if err := p.flushIfDue(now); err != nil {
					_ = h.journal.Fail(err)
					return
				}
			}
		}
	}
}

// flushIfDue syncs a relaxed partition whose flush.ms has passed since the last time.
func (p *Partition) flushIfDue(now time.Time) error {
	c := p.config.Load()
	if c.Durable() || c.FlushInterval <= 0 || now.UnixNano()-p.flushed.Load() < int64(c.FlushInterval) {
		return nil
	}
	p.flushed.Store(now.UnixNano())
	p.shard.ckptMu.Lock() // the files stay open meanwhile
	defer p.shard.ckptMu.Unlock()
	if end := p.shard.logEnd(); p.shard.isGone() || p.shard.SafeAt(end.Segment, end.Pos) {
		return nil
	}
	if err := p.shard.SyncData(p.host.metrics.observeFsync); err != nil {
		return err
	}
	return p.host.journal.Sync() // without the records a restart would cut the bytes
}

func (s *shardLog) isGone() bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.gone
}

// expirer lets the leaders forget idempotent producers that have been silent for long. That is a command in the log, so
// that all replicas forget the same.
func (h *Host) expirer() {
	tick := time.NewTicker(expireTick)
	defer tick.Stop()
	for {
		select {
		case <-h.ctx.Done():
			return
		case now := <-tick.C:
			for _, p := range h.all() {
				p.expireProducers(h.ctx, now.Add(-h.opts.ProducerExpiry))
			}
		}
	}
}

// expireProducers proposes to forget producers whose last batch is older than before, if there are any.
func (p *Partition) expireProducers(ctx context.Context, before time.Time) {
	if !p.isLeader.Load() {
		return
	}
	limit := before.UnixMilli()
	for _, e := range p.Producers() {
		if e.LastTimestamp >= limit {
			continue
		}
		ctx, cancel := context.WithTimeout(ctx, expireTimeout)
		defer cancel()
		if err := p.propose(ctx, encodeCommand(commandExpireProducers, limit)); err != nil {
			p.logger.Debug("producers not expired", "error", err)
		}
		return
	}
}
