package broker

import (
	"maps"
	"math"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/stelemq/stele/broker/metadata"
)

// live are settings as they hold now: those of the configuration, or what the metadata says since. What topics inherit is
// looked up by topicSettings.
type live struct {
	maxConnections, maxConnectionsPerIP atomic.Int64
	// told are the values that Options.Live was told. Only followSettings uses it.
	told map[string]string
}

// followSettings makes dynamic settings hold now and whenever they change, until it is cancelled.
func (b *Broker) followSettings() (cancel func()) {
	b.live.maxConnections.Store(int64(b.opts.Config.MaxConnections))
	b.live.maxConnectionsPerIP.Store(int64(b.opts.Config.MaxConnectionsPerIP))
	follow := maps.Clone(b.opts.Live)
	if follow == nil {
		follow = map[string]func(string){}
	}
	follow["max.connections"] = atomicSetting(&b.live.maxConnections)
	follow["max.connections.per.ip"] = atomicSetting(&b.live.maxConnectionsPerIP)
	b.live.told = map[string]string{}
	return b.opts.Metadata.Watch(func(c metadata.Change) {
		if !c.All {
			return
		}
		b.quotas.SetTable(quotaTable(c.Image))
		for name, tell := range follow {
			value, ok := b.setting(c.Image, name)
			if was, told := b.live.told[name]; !ok || told && was == value {
				continue
			}
			b.live.told[name] = value
			tell(value)
		}
	})
}

// setting is a setting of this broker as it holds now.
func (b *Broker) setting(image *metadata.Image, name string) (string, bool) {
	if values := b.inherited(image)(name); len(values) > 0 {
		return values[0].Value, true
	}
	s, ok := b.settings[name]
	if !ok {
		return "", false
	}
	return s.Value, true
}

func atomicSetting(to *atomic.Int64) func(string) {
	return func(value string) {
		if n, err := strconv.ParseInt(strings.TrimSpace(value), 10, 64); err == nil {
			to.Store(min(n, math.MaxInt32))
		}
	}
}
