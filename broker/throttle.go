package broker

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/stelemq/stele/broker/metadata"
	"github.com/stelemq/stele/broker/quota"
)

// A client that has used more than its quota is answered at once, told for how long it should wait, and not read for that
// long (KIP-219).

// errMuted is never returned to a client: the connection was ended while it was not read.
var errMuted = errors.New("throttled")

// quotaTable is what the metadata allows, in the form that counts.
func quotaTable(image *metadata.Image) *quota.Table {
	rules := map[quota.Kind]map[quota.Entity]float64{}
	for _, q := range image.Quotas() {
		if _, ip := q.Entity[metadata.QuotaIP]; ip {
			if value, ok := q.Values[quota.Connection.Key()]; ok {
				if rules[quota.Connection] == nil {
					rules[quota.Connection] = map[quota.Entity]float64{}
				}
				rules[quota.Connection][quota.Entity{User: quotaPart(q.Entity, metadata.QuotaIP)}] = value
			}
			continue
		}
		e := quota.Entity{User: quotaPart(q.Entity, metadata.QuotaUser), ClientID: quotaPart(q.Entity, metadata.QuotaClientID)}
		for _, kind := range []quota.Kind{quota.Produce, quota.Fetch, quota.Request, quota.Mutation} {
			if value, ok := q.Values[kind.Key()]; ok {
				if rules[kind] == nil {
					rules[kind] = map[quota.Entity]float64{}
				}
				rules[kind][e] = value
			}
		}
	}
	return quota.NewTable(rules)
}

func quotaPart(e metadata.QuotaEntity, kind string) quota.Part {
	switch name, ok := e[kind]; {
	case !ok:
		return quota.Part{}
	case name == nil:
		return quota.Others()
	default:
		return quota.Named(*name)
	}
}

// waits are requests whose time is mostly that of others: of members of a group, of replicas, of the metadata.
func waits(key int16) bool { return slices.Contains(waiting[:], kmsg.Key(key)) }

//nolint:gochecknoglobals // constant table
var waiting = [...]kmsg.Key{
	kmsg.JoinGroup, kmsg.SyncGroup, kmsg.OffsetCommit, kmsg.FindCoordinator, kmsg.CreateTopics, kmsg.DeleteTopics, kmsg.CreatePartitions,
	kmsg.ElectLeaders, kmsg.AlterPartitionAssignments, kmsg.DeleteRecords, kmsg.AlterConfigs, kmsg.IncrementalAlterConfigs,
	kmsg.AlterClientQuotas, kmsg.UpdateFeatures, kmsg.UnregisterBroker, kmsg.InitProducerID, kmsg.Metadata,
}

// use counts what the request in s has used, and returns for how long its client must be left alone.
func (c *conn) use(s *slot, kind quota.Kind, n float64) time.Duration {
	if !c.b.quotas.Active() {
		return 0
	}
	return c.b.quotas.Use(kind, quota.Anonymous, c.clientID(s), n, c.b.now())
}

// useTime counts the time that a request has taken so far.
func (c *conn) useTime(s *slot, took time.Duration) time.Duration {
	if !c.b.quotas.Active() || waits(s.api.key) {
		return 0
	}
	return c.use(s, quota.Request, took.Seconds())
}

// clientID is what the client of a request calls itself. The string is kept as long as it stays the same.
func (c *conn) clientID(s *slot) string {
	if id := s.clientID(); string(id) != c.client {
		c.client = string(id)
	}
	return c.client
}

// mute has the connection not read for a while.
func (c *conn) mute(kind quota.Kind, d time.Duration) {
	if d <= 0 {
		return
	}
	c.b.metrics.throttled.WithLabelValues(throttleKind(kind)).Add(d.Seconds())
	until := c.b.now().Add(d).UnixNano()
	for {
		old := c.mutedUntil.Load()
		if old >= until || c.mutedUntil.CompareAndSwap(old, until) {
			return
		}
	}
}

func throttleKind(k quota.Kind) string {
	return [...]string{quota.Produce: "produce", quota.Fetch: "fetch", quota.Request: "request", quota.Mutation: "controller_mutation", quota.Connection: "connection"}[k]
}

// awaitUnmuted waits until the connection may be read again.
func (c *conn) awaitUnmuted() error {
	for {
		until := c.mutedUntil.Load()
		if until == 0 {
			return nil
		}
		left := time.Unix(0, until).Sub(c.b.now())
		if left <= 0 {
			c.mutedUntil.CompareAndSwap(until, 0)
			continue
		}
		timer := time.NewTimer(left)
		select {
		case <-timer.C:
		case <-c.b.drained:
			timer.Stop()
			return errDraining
		case <-c.ctx.Done():
			timer.Stop()
			return errors.Join(errMuted, context.Cause(c.ctx))
		}
	}
}

// throttleMillis is a time as answers say it.
func throttleMillis(d time.Duration) int32 {
	return int32((d + time.Millisecond - 1) / time.Millisecond) //nolint:gosec // at most half a minute
}

// throttle tells a client by its answer for how long it is not read, and does not read it.
func (c *conn) throttle(resp kmsg.Response, kind quota.Kind, d time.Duration) {
	if d <= 0 {
		return
	}
	if r, ok := resp.(kmsg.SetThrottleResponse); ok {
		r.SetThrottle(throttleMillis(d))
	}
	c.mute(kind, d)
}
