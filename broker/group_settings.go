package broker

import (
	"cmp"
	"strconv"
	"strings"
	"time"

	"github.com/stelemq/stele/broker/metadata"
)

// groupTimes is what the settings of a group say about its members' sessions and heartbeats, 0 where they say nothing. They
// hold from a member's next heartbeat on.
func (b *Broker) groupTimes(id string) (session, heartbeat time.Duration) {
	have, ok := b.opts.Metadata.Image().NamedConfigs(metadata.ConfigGroup, id)
	if !ok {
		return 0, 0
	}
	return time.Duration(settingMillis(have[groupSession])) * time.Millisecond, time.Duration(settingMillis(have[groupHeartbeat])) * time.Millisecond
}

// settingMillis is a number of milliseconds, 0 for none.
func settingMillis(value string) int64 {
	n, err := strconv.ParseInt(strings.TrimSpace(value), 10, 32)
	if err != nil {
		return 0
	}
	return n
}

// checkGroupTimes says what is wrong with the settings of a group, by the bounds that the brokers' settings name.
func (b *Broker) checkGroupTimes(image *metadata.Image, set map[string]string) string {
	now := map[string]int64{}
	for _, name := range []string{groupHeartbeat, groupSession} {
		middle := strings.TrimPrefix(name, "consumer.")
		value, _ := b.setting(image, "group."+name)
		now[name] = cmp.Or(settingMillis(set[name]), settingMillis(value))
		if _, ok := set[name]; !ok {
			continue
		}
		least, most := "group.consumer.min."+middle, "group.consumer.max."+middle
		if value, ok := b.setting(image, least); ok && now[name] < settingMillis(value) {
			return name + " must be greater than or equal to " + least
		}
		if value, ok := b.setting(image, most); ok && now[name] > settingMillis(value) {
			return name + " must be less than or equal to " + most
		}
	}
	if (set[groupHeartbeat] != "" || set[groupSession] != "") && now[groupSession] <= now[groupHeartbeat] && now[groupHeartbeat] > 0 && now[groupSession] > 0 {
		return groupSession + " must be greater than " + groupHeartbeat
	}
	return ""
}
