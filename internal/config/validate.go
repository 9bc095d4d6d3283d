package config

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// validator gathers what is wrong with settings taken together. at tells where a key was set.
type validator struct {
	s        *Settings
	at       func(key string) string
	problems []Problem
}

func validate(s *Settings, at func(string) string, dev bool) []Problem {
	v := validator{s: s, at: at}
	v.listeners()
	v.advertised()
	v.dirs(dev)
	v.replication()
	v.cluster()
	if s.HTTPListen != "" && !strings.EqualFold(s.HTTPListen, "off") {
		if _, _, err := net.SplitHostPort(s.HTTPListen); err != nil {
			v.fail("http.listen", "%q: want host:port, :port or off", s.HTTPListen)
		}
	}
	if int64(s.MessageMaxBytes) > int64(s.SocketRequestMax) {
		v.fail("message.max.bytes", "%s is above socket.request.max.bytes (%s): such a batch could never be sent",
			s.MessageMaxBytes, s.SocketRequestMax)
	}
	if int64(s.MessageMaxBytes) > int64(s.SegmentBytes) {
		v.fail("message.max.bytes", "%s is above log.segment.bytes (%s): such a batch would fit no segment", s.MessageMaxBytes, s.SegmentBytes)
	}
	v.cleanup()
	v.groups()
	return v.problems
}

// groups holds the bounds of the consumer protocol's settings against each other.
func (v *validator) groups() {
	within := func(key string, value, least, most time.Duration, leastKey, mostKey string) {
		if value < least || value > most {
			v.fail(key, "is not between %s and %s", leastKey, mostKey)
		}
	}
	within("group.consumer.session.timeout.ms", v.s.ConsumerSession, v.s.ConsumerSessionMin, v.s.ConsumerSessionMax,
		"group.consumer.min.session.timeout.ms", "group.consumer.max.session.timeout.ms")
	within("group.consumer.heartbeat.interval.ms", v.s.ConsumerBeat, v.s.ConsumerBeatMin, v.s.ConsumerBeatMax,
		"group.consumer.min.heartbeat.interval.ms", "group.consumer.max.heartbeat.interval.ms")
	if v.s.ConsumerBeat >= v.s.ConsumerSession {
		v.fail("group.consumer.heartbeat.interval.ms", "is not below group.consumer.session.timeout.ms: every member would be taken for dead")
	}
	for i, name := range v.s.ConsumerAssignors {
		if name != "uniform" && name != "range" || slices.Contains(v.s.ConsumerAssignors[:i], name) {
			v.fail("group.consumer.assignors", "%q: want uniform, range, or both", strings.Join(v.s.ConsumerAssignors, ","))
			break
		}
	}
	if len(v.s.ConsumerAssignors) == 0 {
		v.fail("group.consumer.assignors", "want uniform, range, or both")
	}
}

// cleanup holds what is no plain number or word.
func (v *validator) cleanup() {
	for i, p := range v.s.CleanupPolicy {
		if p != "delete" && p != "compact" || slices.Contains(v.s.CleanupPolicy[:i], p) {
			v.fail("log.cleanup.policy", "%q: want delete, compact, or both", strings.Join(v.s.CleanupPolicy, ","))
			break
		}
	}
	if len(v.s.CleanupPolicy) == 0 {
		v.fail("log.cleanup.policy", "want delete, compact, or both")
	}
	if r, err := strconv.ParseFloat(v.s.CleanerRatio, 64); err != nil || !(r >= 0 && r <= 1) {
		v.fail("log.cleaner.min.cleanable.ratio", "%q: want a number between 0 and 1", v.s.CleanerRatio)
	}
	if v.s.CleanerMinLag > v.s.CleanerMaxLag {
		v.fail("log.cleaner.min.compaction.lag.ms", "is above log.cleaner.max.compaction.lag.ms")
	}
}

func (v *validator) fail(key, format string, args ...any) {
	v.problems = append(v.problems, Problem{Where: v.at(key), Key: key, Text: fmt.Sprintf(format, args...)})
}

func (v *validator) warn(key, format string, args ...any) {
	v.problems = append(v.problems, Problem{Where: v.at(key), Key: key, Text: fmt.Sprintf(format, args...), Warning: true})
}

// listeners must have a form, distinct names and ports, and a protocol that is served.
func (v *validator) listeners() {
	const key = "listeners"
	names, ports, open := map[string]bool{}, map[string]bool{}, 0
	for _, text := range v.s.Listeners {
		l, err := ParseListener(text)
		switch {
		case err != nil:
			v.fail(key, "%v", err)
			continue
		case v.s.isController(l.Name):
			v.warn(key, "%s is not opened: there are no separate controllers", text)
			continue
		case strings.Contains(l.Name, "SSL") || strings.Contains(l.Name, "SASL"):
			v.fail(key, "%s: this version serves neither TLS nor SASL; use PLAINTEXT on a trusted network", text)
		case names[l.Name]:
			v.fail(key, "two listeners are named %s; clients are told addresses by name", l.Name)
		case l.Port != 0 && ports[l.Address()]:
			v.fail(key, "two listeners have the address %s", l.Address())
		}
		names[l.Name], ports[l.Address()] = true, true
		open++
	}
	if open == 0 && len(v.problems) == 0 {
		v.fail(key, "no listener is left to open; the default is PLAINTEXT://:9092")
	}
}

// advertised addresses must be dialable and name listeners that are there.
func (v *validator) advertised() {
	const key = "advertised.listeners"
	seen := map[string]bool{}
	for _, text := range v.s.AdvertisedListeners {
		l, err := ParseListener(text)
		if err != nil {
			v.fail(key, "%v", err)
			continue
		}
		if v.s.isController(l.Name) {
			continue
		}
		bound, ok := v.bound(l.Name)
		ip := net.ParseIP(l.Host)
		switch {
		case !ok:
			v.fail(key, "%s: there is no listener named %s in listeners", text, l.Name)
		case seen[l.Name]:
			v.fail(key, "%s is advertised twice", l.Name)
		case l.Host == "" || ip != nil && ip.IsUnspecified():
			v.fail(key, "%s: clients cannot dial this address; name the host as clients see it", text)
		case loopback(l.Host) && !loopback(bound.Host):
			v.warn(key, "%s is advertised by a listener that other hosts can reach: they would dial themselves", text)
		}
		seen[l.Name] = true
	}
}

func (v *validator) bound(name string) (Listener, bool) {
	for _, l := range v.s.Open() {
		if l.Name == name {
			return l, true
		}
	}
	return Listener{}, false
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}

// dirs: one, and one that lasts.
func (v *validator) dirs(dev bool) {
	const key = "log.dirs"
	if len(v.s.LogDirs) != 1 {
		v.fail(key, "want exactly one directory, not %d; use a volume manager to join disks", len(v.s.LogDirs))
		return
	}
	dir, err := filepath.Abs(v.s.LogDirs[0])
	if err != nil || dev {
		return
	}
	if temp := filepath.Clean(os.TempDir()); dir == temp || strings.HasPrefix(dir, temp+string(filepath.Separator)) {
		v.warn(key, "%s lies in the folder for temporary files, which may be emptied", dir)
	}
}

func (v *validator) replication() {
	s := v.s
	const automatic = 3 // at most
	rf := int32(s.ReplicationFactor)
	if rf == 0 {
		rf = automatic
	}
	if s.MinInSyncReplicas > rf {
		v.fail("min.insync.replicas", "%d is above default.replication.factor (%d): acks=all could never be answered", s.MinInSyncReplicas, rf)
	}
}
