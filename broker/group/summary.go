package group

// Summary is a group as metrics show it.
type Summary struct {
	ID, State string
	Members   int
	Offsets   []CommittedOffset
}

// CommittedOffset is what a group has committed for a partition.
type CommittedOffset struct {
	Topic     string
	Partition int32
	Offset    int64
}

// Summaries are all groups, in no particular order.
func (c *Coordinator) Summaries() []Summary {
	out := make([]Summary, 0, len(c.groups))
	for id, g := range c.groups {
		s := Summary{ID: id, State: g.body.state(), Members: g.body.size()}
		for topic, parts := range g.offsets {
			for p, o := range parts {
				s.Offsets = append(s.Offsets, CommittedOffset{Topic: topic, Partition: p, Offset: o.offset})
			}
		}
		out = append(out, s)
	}
	return out
}
