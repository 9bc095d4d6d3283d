package group

import (
	"encoding/hex"
	"errors"
	"slices"
	"testing"

	"github.com/stelemq/stele/broker/group/assignor"
)

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

var (
	goldenTopic1 = TopicID{15: 1}
	goldenTopic2 = TopicID{15: 2}
)

// The bytes are those of Kafka 4.3.0's own classes (org.apache.kafka.coordinator.group.generated).
func TestConsumerRecords_KeysAreKafkas(t *testing.T) {
	rows := []struct {
		key    consumerKey
		golden string
	}{
		{consumerKey{keyConsumerGroup, "grüppe", ""}, "000300076772c3bc707065"},
		{consumerKey{keyMember, "g", "m"}, "000500016700016d"},
		{consumerKey{keyTarget, "g", ""}, "0006000167"},
		{consumerKey{keyTargetMember, "g", "m"}, "000700016700016d"},
		{consumerKey{keyCurrentMember, "g", "m"}, "000800016700016d"},
		{consumerKey{keyRegex, "g", "o.*"}, "001000016700036f2e2a"},
	}
	for _, row := range rows {
		if got := hex.EncodeToString(row.key.encode()); got != row.golden {
			t.Errorf("%v: %s, want %s", row.key, got, row.golden)
		}
		if got, err := decodeConsumerKey(unhex(t, row.golden)); err != nil || got != row.key {
			t.Errorf("%s: %v, %v, want %v", row.golden, got, err, row.key)
		}
	}
}

func TestConsumerRecords_ValuesAreKafkas(t *testing.T) {
	const (
		group        = "0000000000070100081122334455667788"
		groupNoHash  = "00000000000700"
		target       = "0000000000090100080000018bcfe56800"
		targetMember = "000003000000000000000000000000000000010400000000000000010000012c000000000000000000000000000000000202000000050000"
		current      = "0000000000050000000401020000000000000000000000000000000103000000000000000101000903000000030000000502000000000000000000000000000000020200000007010005020000000200"
		member       = "00000269027202630b2f3132372e302e302e310302610262046f2e2a0000ea600672616e6765010012010000afc8020672616e6765040102030000"
		memberPlain  = "00000000026302680100000000010000"
		expression   = "000003036f31036f32000000000000000c0000018bcfe5680000"
	)
	same := func(name, golden string, got []byte, err error) {
		t.Helper()
		if err != nil || hex.EncodeToString(got) != golden {
			t.Errorf("%s: %v\n got %x\nwant %s", name, err, got, golden)
		}
	}
	g, err := decodeGroupMetadata(unhex(t, group))
	same("group", group, g.encode(), err)
	if g.epoch != 7 || g.hash != 0x1122334455667788 {
		t.Errorf("group %+v", g)
	}
	g, err = decodeGroupMetadata(unhex(t, groupNoHash))
	same("group without hash", groupNoHash, g.encode(), err)

	tm, err := decodeTargetMetadata(unhex(t, target))
	same("target", target, tm.encode(), err)
	if tm.epoch != 9 || tm.at != 1_700_000_000_000 {
		t.Errorf("target %+v", tm)
	}

	a, err := decodeTarget(unhex(t, targetMember))
	same("target of a member", targetMember, encodeTarget(a), err)
	if !a.Equal(assignor.Assignment{goldenTopic1: {0, 1, 300}, goldenTopic2: {5}}) {
		t.Errorf("target of a member %v", a)
	}

	c, err := decodeCurrentAssignment(unhex(t, current))
	same("current assignment", current, c.encode(), err)
	want := currentAssignment{
		epoch: 5, previousEpoch: 4, state: memberUnrevoked,
		assigned: ownership{goldenTopic1: {{0, 3}, {1, 5}}}, revoking: ownership{goldenTopic2: {{7, 2}}},
	}
	if c.epoch != want.epoch || c.previousEpoch != want.previousEpoch || c.state != want.state || !c.assigned.equal(want.assigned) || !c.revoking.equal(want.revoking) {
		t.Errorf("current assignment %+v, want %+v", c, want)
	}

	for _, golden := range []string{member, memberPlain} {
		m := newConsumerMember("m")
		err = m.decodeMember(unhex(t, golden))
		same("member", golden, m.encode(), err)
	}
	r, err := decodeRegex(unhex(t, expression))
	same("expression", expression, r.encode(), err)
	if !slices.Equal(r.topics, []string{"o1", "o2"}) || r.version != 12 || r.at != 1_700_000_000_000 {
		t.Errorf("expression %+v", r)
	}
}

// Kafka before 4.3 writes no epochs of partitions: the member's own holds.
func TestConsumerRecords_AssignmentWithoutEpochs(t *testing.T) {
	c, err := decodeCurrentAssignment(unhex(t, "00000000000500000004000200000000000000000000000000000001030000000000000001000100"))
	if err != nil || !c.assigned.equal(ownership{goldenTopic1: {{0, 5}, {1, 5}}}) {
		t.Errorf("%+v, %v", c, err)
	}
}

func TestConsumerRecords_StateOfALaterVersion(t *testing.T) {
	b := currentAssignment{epoch: 5, state: 9}.encode()
	c, err := decodeCurrentAssignment(b)
	if err != nil || c.state != memberUnknown {
		t.Errorf("%+v, %v", c, err)
	}
}

// FuzzConsumerReplay: no record, whatever its bytes, panics or is applied in part.
func FuzzConsumerReplay(f *testing.F) {
	m := &consumerMember{id: "m", topics: []string{"a"}, regex: "o.*", classic: &classicMetadata{protocols: []classicProtocol{{"range", []byte{1}}}}}
	c := currentAssignment{epoch: 5, assigned: ownership{goldenTopic1: {{0, 3}, {1, 5}}}}
	for version, value := range map[int16][]byte{
		keyConsumerGroup: groupMetadata{7, 8}.encode(), keyMember: m.encode(), keyTarget: targetMetadata{7, 8}.encode(),
		keyTargetMember: encodeTarget(assignor.Assignment{goldenTopic1: {0}}), keyCurrentMember: c.encode(),
		keyRegex: (&resolvedRegex{topics: []string{"o"}}).encode(), keyPartitionMetadata: {0, 0},
	} {
		f.Add(consumerKey{version, "g", "m"}.encode(), value)
		f.Add(consumerKey{version, "g", "m"}.encode(), []byte(nil))
	}
	f.Fuzz(func(t *testing.T, key, value []byte) {
		cfg := Defaults()
		cfg.Topics = newFakeTopics()
		c := New(cfg)
		err := c.Replay(Record{Key: key, Value: value})
		if err != nil && !errors.Is(err, ErrRecord) {
			t.Errorf("%v", err)
		}
		if err != nil && len(c.groups) > 0 {
			t.Errorf("%v, but it was applied", err)
		}
	})
}
