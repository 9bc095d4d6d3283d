package group

// replayConsumer applies a record of a KIP-848 group; versions that are not known are passed over.
//
// Compaction may have taken records from between two that are left, so nothing is assumed but their order: the
// newest record of a key says what holds.
func (c *Coordinator) replayConsumer(version int16, r Record) error {
	key := consumerKey{version: version}
	if version != keyConsumerGroup && version != keyPartitionMetadata && version != keyTarget && !key.named() {
		return nil
	}
	key, err := decodeConsumerKey(r.Key)
	if err != nil {
		return err
	}
	if r.Value == nil {
		c.replayConsumerTombstone(key)
		return nil
	}
	change, err := decodeConsumerValue(key, r.Value)
	if err != nil {
		return err
	}
	g := c.ensure(key.group)
	k, ok := g.body.(*consumerGroup)
	if !ok {
		k = newConsumerGroup()
		g.body = k
	}
	change(k)
	return nil
}

// decodeConsumerValue reads a value completely before anything is changed.
func decodeConsumerValue(key consumerKey, value []byte) (change func(*consumerGroup), err error) {
	switch key.version {
	case keyConsumerGroup:
		v, err := decodeGroupMetadata(value)
		return func(k *consumerGroup) { k.epoch, k.hash = v.epoch, v.hash }, err
	case keyMember:
		read := newConsumerMember(key.member)
		err := read.decodeMember(value)
		return func(k *consumerGroup) {
			if old := k.members[key.member]; old != nil {
				read.currentAssignment = old.currentAssignment
			}
			k.setMember(read)
		}, err
	case keyTarget:
		v, err := decodeTargetMetadata(value)
		return func(k *consumerGroup) { k.targetEpoch, k.targetAt = v.epoch, v.at }, err
	case keyTargetMember:
		target, err := decodeTarget(value)
		return func(k *consumerGroup) { k.target[key.member] = target }, err
	case keyCurrentMember:
		v, err := decodeCurrentAssignment(value)
		return func(k *consumerGroup) {
			m := newConsumerMember(key.member)
			if old := k.members[key.member]; old != nil {
				m = old.clone()
			}
			m.currentAssignment = v
			k.setMember(m)
		}, err
	case keyRegex:
		v, err := decodeRegex(value)
		return func(k *consumerGroup) { k.regexes[key.member] = v }, err
	}
	return func(*consumerGroup) {}, nil // keyPartitionMetadata: the hash has taken its place
}

func (c *Coordinator) replayConsumerTombstone(key consumerKey) {
	g := c.find(key.group)
	if g == nil {
		return
	}
	k, ok := g.body.(*consumerGroup)
	if !ok {
		return
	}
	switch key.version {
	case keyConsumerGroup:
		g.body = newClassicGroup()
		c.forgetEmpty(g)
	case keyMember:
		k.dropMember(key.member)
	case keyTarget:
		k.targetEpoch, k.targetAt = 0, 0
	case keyTargetMember:
		delete(k.target, key.member)
	case keyCurrentMember:
		if old := k.members[key.member]; old != nil {
			m := old.clone()
			m.currentAssignment = currentAssignment{}
			k.setMember(m)
		}
	case keyRegex:
		delete(k.regexes, key.member)
	}
}
