package group

import (
	"encoding/binary"
	"hash/fnv"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"
)

// compileRegex compiles a subscription: RE2, and the whole name has to match, as in Kafka.
func compileRegex(regex string) (*regexp.Regexp, error) {
	return regexp.Compile("^(?:" + regex + ")$") //nolint:wrapcheck // the caller says what it was
}

// refreshRegexes evaluates the expressions: a new one at once, all of them when topics have come or gone, but not
// oftener than the interval.
func (c *Coordinator) refreshRegexes(now time.Time, g *group, k *consumerGroup) {
	version := c.cfg.Topics.Version()
	var due []string
	all := version != k.regexSeen && !now.Before(k.regexNext)
	for regex := range k.regexMembers {
		if all || k.regexes[regex] == nil {
			due = append(due, regex)
		}
	}
	if all {
		k.regexSeen, k.regexNext = version, now.Add(c.cfg.Consumer.RegexInterval)
	}
	slices.Sort(due)
	for _, regex := range due {
		topics := c.match(k, regex)
		if old := k.regexes[regex]; old == nil || !slices.Equal(old.topics, topics) {
			c.writeRegex(g, k, regex, &resolvedRegex{topics: topics, version: version, at: now.UnixMilli()})
			k.seen = 0 // the hash is to be computed anew
		}
	}
}

// match lists the topics that an expression matches. One that this version cannot compile matches none.
func (c *Coordinator) match(k *consumerGroup, regex string) []string {
	compiled, known := k.compiled[regex]
	if !known {
		compiled, _ = compileRegex(regex)
		k.compiled[regex] = compiled
	}
	if compiled == nil {
		return nil
	}
	var topics []string
	for topic := range c.cfg.Topics.All() {
		if compiled.MatchString(topic.Name) {
			topics = append(topics, topic.Name)
		}
	}
	slices.Sort(topics)
	return topics
}

// subscribedTopics are the topics that members subscribe to, by name or expression, and that exist; ascending.
func (c *Coordinator) subscribedTopics(k *consumerGroup) []Topic {
	names := make(map[string]struct{}, len(k.subscribers))
	for name := range k.subscribers {
		names[name] = struct{}{}
	}
	for regex := range k.regexMembers {
		if r := k.regexes[regex]; r != nil {
			for _, name := range r.topics {
				names[name] = struct{}{}
			}
		}
	}
	topics := make([]Topic, 0, len(names))
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if topic, ok := c.cfg.Topics.Topic(name); ok {
			topics = append(topics, topic)
		}
	}
	return topics
}

// subscriptionHash changes with everything of the topics that an assignment depends on. Kafka's own hash is another;
// it is compared with nothing but itself.
func subscriptionHash(topics []Topic) uint64 {
	h := fnv.New64a()
	var buf []byte
	for _, topic := range topics {
		buf = binary.AppendUvarint(buf[:0], uint64(len(topic.Name)))
		buf = append(append(buf, topic.Name...), topic.ID[:]...)
		buf = binary.AppendUvarint(buf, uint64(topic.Partitions)) //nolint:gosec // not negative
		_, _ = h.Write(buf)
	}
	return h.Sum64()
}

// refreshSubscription bumps the group epoch where there is a reason to, a member's or that the topics that they subscribe
// to have changed.
func (c *Coordinator) refreshSubscription(now time.Time, g *group, k *consumerGroup, reason string) {
	c.refreshRegexes(now, g, k)
	version := c.cfg.Topics.Version()
	if reason == "" && k.seen == version {
		return
	}
	k.seen = version
	if hash := subscriptionHash(c.subscribedTopics(k)); hash != k.hash {
		k.hash = hash
		if reason == "" {
			reason = ReasonTopics
		}
	}
	if reason != "" {
		c.writeEpoch(now, g, k, k.epoch+1, reason)
	}
}

// topicIDs lists the topics that a member subscribes to, by id and ascending. Members with the same subscription get
// the same slice, which the caches holds.
func (c *Coordinator) topicIDs(k *consumerGroup, m *consumerMember, cache map[string][]TopicID) []TopicID {
	key := m.regex + "\x00" + strings.Join(m.topics, "\x00")
	if ids, ok := cache[key]; ok {
		return ids
	}
	names := m.topics
	if r := k.regexes[m.regex]; r != nil && m.regex != "" {
		names = slices.Concat(names, r.topics)
	}
	found := make(map[TopicID]struct{}, len(names))
	for _, name := range names {
		if topic, ok := c.cfg.Topics.Topic(name); ok {
			found[topic.ID] = struct{}{}
		}
	}
	ids := sortedTopics(found)
	cache[key] = ids
	return ids
}

// subscribedIDs is topicIDs of one member as a set.
func (c *Coordinator) subscribedIDs(k *consumerGroup, m *consumerMember) map[TopicID]struct{} {
	ids := c.topicIDs(k, m, map[string][]TopicID{})
	set := make(map[TopicID]struct{}, len(ids))
	for _, id := range ids {
		set[id] = struct{}{}
	}
	return set
}
