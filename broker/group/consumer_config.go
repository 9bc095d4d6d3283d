package group

import (
	"slices"
	"time"

	"github.com/stelemq/stele/broker/group/assignor"
)

// MigrationPolicy is a value of group.consumer.migration.policy: whether a live group may change its type.
type MigrationPolicy string

// The policies, by Kafka's names. Upgrade is from the classic protocol to the consumer protocol.
const (
	MigrationBidirectional MigrationPolicy = "bidirectional"
	MigrationUpgrade       MigrationPolicy = "upgrade"
	MigrationDowngrade     MigrationPolicy = "downgrade"
	MigrationDisabled      MigrationPolicy = "disabled"
)

func (p MigrationPolicy) upgrades() bool {
	return p == MigrationBidirectional || p == MigrationUpgrade
}

func (p MigrationPolicy) downgrades() bool {
	return p == MigrationBidirectional || p == MigrationDowngrade
}

// ConsumerConfig is what groups of the consumer protocol (KIP-848) go by: Kafka's group.consumer.*.
type ConsumerConfig struct {
	// SessionTimeout is group.consumer.session.timeout.ms: after that time without a heartbeat a member is out.
	SessionTimeout time.Duration
	// HeartbeatInterval is group.consumer.heartbeat.interval.ms, which members are told to keep.
	HeartbeatInterval time.Duration
	// MaxSize is group.consumer.max.size.
	MaxSize int
	// Assignors is group.consumer.assignors, names of package assignor; the first is the default.
	Assignors []string
	// Migration is group.consumer.migration.policy.
	Migration MigrationPolicy
	// AssignmentInterval is group.consumer.assignment.interval.ms (KIP-1263): the least time between two assignments
	// of a group, so that members that come together are assigned together. 0: at every change.
	AssignmentInterval time.Duration
	// OfGroup says what a single group is given instead of SessionTimeout and HeartbeatInterval (the group's settings
	// consumer.session.timeout.ms and consumer.heartbeat.interval.ms), 0 where nothing is; nil: no group is given anything.
	OfGroup func(id string) (session, heartbeat time.Duration)
	// RegexInterval is the least time between two evaluations of a group's regular expressions over all topics.
	RegexInterval time.Duration
}

func consumerDefaults() ConsumerConfig {
	return ConsumerConfig{
		SessionTimeout:     45 * time.Second,
		HeartbeatInterval:  5 * time.Second,
		MaxSize:            1<<31 - 1,
		Assignors:          assignor.Names(),
		Migration:          MigrationBidirectional,
		AssignmentInterval: time.Second,
		RegexInterval:      10 * time.Second,
	}
}

// assignor returns a configured assignor; "" is the default.
func (c *ConsumerConfig) assignor(name string) (assignor.Assignor, bool) {
	if name == "" {
		name = c.Assignors[0]
	}
	if !slices.Contains(c.Assignors, name) {
		return nil, false
	}
	return assignor.ByName(name)
}

// sessionOf is how long a group's members may be silent.
func (c *ConsumerConfig) sessionOf(id string) time.Duration {
	if c.OfGroup != nil {
		if session, _ := c.OfGroup(id); session > 0 {
			return session
		}
	}
	return c.SessionTimeout
}

// heartbeatOf is how often a group's members are told to send heartbeats.
func (c *ConsumerConfig) heartbeatOf(id string) time.Duration {
	if c.OfGroup != nil {
		if _, heartbeat := c.OfGroup(id); heartbeat > 0 {
			return heartbeat
		}
	}
	return c.HeartbeatInterval
}
