package metadata

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stelemq/stele/protocol"
)

// do applies a command and returns its result.
func do(t *testing.T, m *Machine, c Command) Result {
	t.Helper()
	b, err := Encode(c)
	if err != nil {
		t.Fatal(err)
	}
	r, err := DecodeResult(m.Apply(m.Image().Index()+1, b))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func withBrokers(t *testing.T, nodes ...int32) *Machine {
	t.Helper()
	m := NewMachine()
	for _, n := range nodes {
		r := do(t, m, &RegisterBroker{Node: n, Endpoints: []Endpoint{{"PLAINTEXT", "host", 9092}}, ClusterID: fmt.Sprint("cluster of ", n)})
		if r.Error != nil || r.ClusterID != fmt.Sprint("cluster of ", nodes[0]) {
			t.Fatalf("%+v", r)
		}
	}
	return m
}

func id(n byte) TopicID { return TopicID{n} }

func create(name string, n byte, replicas ...[]int32) *CreateTopics {
	return &CreateTopics{Topics: []NewTopic{{Name: name, ID: id(n), Replicas: replicas}}}
}

func codeOf(r Result) protocol.Code {
	switch {
	case r.Error != nil:
		return r.Error.Code
	case len(r.Topics) > 0 && r.Topics[0].Error != nil:
		return r.Topics[0].Error.Code
	}
	return protocol.None
}

func TestApply_Codes(t *testing.T) {
	m := withBrokers(t, 1, 2)
	value := "1"
	for _, row := range []struct {
		name    string
		command Command
		want    protocol.Code
	}{
		{"create", create("t", 1, []int32{1, 2}, []int32{2}), protocol.None},
		{"create again, the same command", create("t", 1, []int32{1, 2}, []int32{2}), protocol.None},
		{"create again under another id", create("t", 2, []int32{1}), protocol.TopicAlreadyExists},
		{"create under a taken id", create("u", 1, []int32{1}), protocol.InvalidRequest},
		{"create without an id", create("u", 0, []int32{1}), protocol.InvalidRequest},
		{"create an invalid name", create("a/b", 3, []int32{1}), protocol.InvalidTopicException},
		{"create without partitions", create("u", 3), protocol.InvalidPartitions},
		{"create without replicas", create("u", 3, []int32{}), protocol.InvalidReplicationFactor},
		{"create on a stranger", create("u", 3, []int32{9}), protocol.InvalidReplicaAssignment},
		{"create twice on one", create("u", 3, []int32{1, 1}), protocol.InvalidReplicaAssignment},
		{"create with a dot", create("a.b", 4, []int32{1}), protocol.None},
		{"create what looks like it", create("a_b", 5, []int32{1}), protocol.InvalidTopicException},
		{"grow", &CreatePartitions{ID: id(1), From: 2, Replicas: [][]int32{{1}}}, protocol.None},
		{"grow, the same command", &CreatePartitions{ID: id(1), From: 2, Replicas: [][]int32{{1}}}, protocol.InvalidPartitions},
		{"grow by nothing", &CreatePartitions{ID: id(1), From: 3}, protocol.InvalidPartitions},
		{"grow on a stranger", &CreatePartitions{ID: id(1), From: 3, Replicas: [][]int32{{9}}}, protocol.InvalidReplicaAssignment},
		{"grow an unknown one", &CreatePartitions{ID: id(9), From: 1, Replicas: [][]int32{{1}}}, protocol.UnknownTopicOrPartition},
		{"delete an unknown one", &DeleteTopics{IDs: []TopicID{id(9)}}, protocol.UnknownTopicID},
		{"delete", &DeleteTopics{IDs: []TopicID{id(4)}}, protocol.None},
		{"the name is free", create("a_b", 5, []int32{1}), protocol.None},
		{"topic config", &SetConfigs{Resource: ConfigTopic, Topic: id(1), Set: map[string]*string{"retention.ms": &value}}, protocol.None},
		{"topic config of an unknown one", &SetConfigs{Resource: ConfigTopic, Topic: id(9)}, protocol.UnknownTopicOrPartition},
		{"cluster config", &SetConfigs{Resource: ConfigCluster, Set: map[string]*string{"a": &value, "b": &value}}, protocol.None},
		{"cluster config removed", &SetConfigs{Resource: ConfigCluster, Set: map[string]*string{"a": nil}}, protocol.None},
		{"broker config", &SetConfigs{Resource: ConfigBroker, Node: 2, Set: map[string]*string{"c": &value}}, protocol.None},
		{"config of nothing", &SetConfigs{Resource: "moon"}, protocol.InvalidRequest},
		{"no producer ids", &AllocateProducerIDs{Node: 1}, protocol.InvalidRequest},
		{"broker without an address", &RegisterBroker{Node: 3}, protocol.InvalidRequest},
	} {
		if got := codeOf(do(t, m, row.command)); got != row.want {
			t.Errorf("%s: %v, want %v", row.name, got, row.want)
		}
	}
	i := m.Image()
	tp, _ := i.TopicByID(id(1))
	if len(tp.Partitions) != 3 || tp.Configs["retention.ms"] != "1" || tp.Partitions[0].PreferredLeader() != 1 || tp.Partitions[0].NextReplica != 3 {
		t.Errorf("%+v", tp)
	}
	if _, ok := i.ClusterConfig("a"); ok {
		t.Error("a removed setting is there")
	}
	if v, _ := i.BrokerConfig(2, "c"); v != "1" {
		t.Error("no broker setting")
	}
}

func TestApply_ProducerIDBlocksDoNotOverlap(t *testing.T) {
	m := NewMachine()
	next := int64(0)
	for _, n := range []int64{1, 1000, 5} {
		if r := do(t, m, &AllocateProducerIDs{Node: 1, Count: n}); r.FirstProducerID != next {
			t.Fatalf("%+v, want %d", r, next)
		}
		next += n
	}
}

func TestApply_ImagesDoNotChange(t *testing.T) {
	m := withBrokers(t, 1)
	do(t, m, create("a", 1, []int32{1}))
	old := m.Image()
	before := snapshotOf(t, m)
	do(t, m, create("b", 2, []int32{1}))
	do(t, m, &CreatePartitions{ID: id(1), From: 1, Replicas: [][]int32{{1}}})
	do(t, m, &DeleteTopics{IDs: []TopicID{id(1)}})
	frozen := &Machine{watchers: map[int]func(Change){}}
	frozen.image.Store(old)
	if after := snapshotOf(t, frozen); !bytes.Equal(before, after) {
		t.Errorf("an old image has changed:\n%s\n%s", before, after)
	}
	if old.NodeLoad(1) != (Load{1, 1}) || m.Image().NodeLoad(1) != (Load{1, 1}) {
		t.Errorf("load %+v, %+v", old.NodeLoad(1), m.Image().NodeLoad(1))
	}
}

func TestApply_NewerCommandStopsTheMachine(t *testing.T) {
	for name, command := range map[string]string{
		"version": `{"kind":"create_topics","v":2,"body":{}}`,
		"kind":    `{"kind":"create_moons","v":1,"body":{}}`,
	} {
		t.Run(name, func(t *testing.T) {
			m := withBrokers(t, 1)
			index := m.Image().Index()
			told := 0
			defer m.Watch(func(Change) { told++ })()
			r, err := DecodeResult(m.Apply(index+1, []byte(command)))
			if err != nil || codeOf(r) != protocol.UnsupportedVersion || !errors.Is(m.Err(), ErrUnsupportedVersion) || told != 2 {
				t.Fatalf("%+v %v %v, told %d times", r, err, m.Err(), told)
			}
			if r := do(t, m, create("t", 1, []int32{1})); codeOf(r) != protocol.UnsupportedVersion || m.Image().TopicCount() != 0 {
				t.Errorf("a stopped machine goes on: %+v", r)
			}
			if _, err := m.Snapshot(); err == nil {
				t.Error("a stopped machine makes snapshots")
			}
		})
	}
}

func TestApply_GarbageIsRefused(t *testing.T) {
	m := NewMachine()
	for _, c := range []string{"", "{", "[]", `{"kind":"create_topics","v":1,"body":7}`, `{"kind":"create_topics","v":1,"body":{"topics":[{"id":"zz"}]}}`} {
		r, err := DecodeResult(m.Apply(1, []byte(c)))
		if err != nil || codeOf(r) != protocol.InvalidRequest || m.Err() != nil {
			t.Errorf("%q: %+v %v %v", c, r, err, m.Err())
		}
	}
}

func snapshotOf(t *testing.T, m *Machine) []byte {
	t.Helper()
	b, err := m.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestRestore_RefusesWhatItCannotRead(t *testing.T) {
	m := withBrokers(t, 1)
	before := snapshotOf(t, m)
	if err := m.Restore([]byte("{")); err == nil || m.Err() != nil {
		t.Error(err, m.Err())
	}
	if !bytes.Equal(before, snapshotOf(t, m)) {
		t.Error("a failed restore changed the state")
	}
	if err := m.Restore([]byte(`{"version":4}`)); !errors.Is(err, ErrUnsupportedVersion) || m.Err() == nil {
		t.Error(err, m.Err())
	}
}

// TestSnapshot_Golden binds the format: a change of it needs a new version.
func TestSnapshot_Golden(t *testing.T) {
	m := withBrokers(t, 1)
	value := "1000"
	do(t, m, create("t", 1, []int32{1}))
	do(t, m, &SetConfigs{Resource: ConfigTopic, Topic: id(1), Set: map[string]*string{"retention.ms": &value}})
	do(t, m, &AllocateProducerIDs{Node: 1, Count: 1000})
	const golden = `{"version":2,"index":4,"cluster_id":"cluster of 1","brokers":[{"node":1,"endpoints":[{"listener":"PLAINTEXT","host":"host","port":9092}],"incarnation":"","epoch":1}],` +
		`"topics":[{"name":"t","id":"01000000000000000000000000000000","partitions":[{"shard":16,"generation":1,"replicas":[{"node":1,"id":1}],"next_replica":2,"founders":[1]}],"configs":{"retention.ms":"1000"}}],` +
		`"cluster_configs":{},"broker_configs":{},"next_producer_id":1000,"next_shard":17,"next_node":2,"next_metadata_replica":101,"features":{}}`
	if got := string(snapshotOf(t, m)); got != golden {
		t.Errorf("\n%s, want\n%s", got, golden)
	}
}

// TestRestore_Version1 reads the snapshot of a program that knew one broker alone.
func TestRestore_Version1(t *testing.T) {
	const golden = `{"version":1,"index":4,"cluster_id":"cluster of 1","brokers":[{"node":1,"endpoints":[{"listener":"PLAINTEXT","host":"host","port":9092}],"incarnation":"","epoch":1}],` +
		`"topics":[{"name":"t","id":"01000000000000000000000000000000","partitions":[{"shard":16,"generation":1,"replicas":[{"node":1,"id":1}],"next_replica":2}],"configs":{"retention.ms":"1000"}}],` +
		`"cluster_configs":{},"broker_configs":{},"next_producer_id":1000,"next_shard":17,"features":{}}`
	m := NewMachine()
	if err := m.Restore([]byte(golden)); err != nil {
		t.Fatal(err)
	}
	tp, ok := m.Image().Topic("t")
	if !ok || !tp.Partitions[0].Founder(1) || tp.Partitions[0].Voters() != 1 {
		t.Fatalf("%+v", tp)
	}
	r := do(t, m, &JoinNode{DirectoryID: "d", Node: -1, RaftAddress: "host:1"})
	if r.Error != nil || r.Node != 2 || r.MetadataReplica != FirstJoinedReplica {
		t.Errorf("%+v", r)
	}
}

// model is the metadata as plain maps.
type model struct {
	topics map[string]*NewTopic
}

// TestMachine_Model applies random commands to a machine, to one that is restored from a snapshot now and
// then, and to a model; all three must agree.
func TestMachine_Model(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	m, restored := withBrokers(t, 1, 2, 3), withBrokers(t, 1, 2, 3)
	mod := model{map[string]*NewTopic{}}
	for step := range 3000 {
		c := mod.next(rng, m.Image())
		b, err := Encode(c)
		if err != nil {
			t.Fatal(err)
		}
		index := m.Image().Index() + 1
		one, two := m.Apply(index, b), restored.Apply(index, b)
		if !bytes.Equal(one, two) {
			t.Fatalf("step %d: results differ: %s, %s", step, one, two)
		}
		mod.check(t, m.Image())
		if rng.IntN(50) == 0 {
			snap := snapshotOf(t, m)
			restored = NewMachine()
			if err := restored.Restore(snap); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(snap, snapshotOf(t, restored)) {
				t.Fatalf("step %d: a restored machine has another state", step)
			}
		}
	}
}

// next makes a command that succeeds and carries it out on the model.
func (mod *model) next(rng *rand.Rand, i *Image) Command {
	names := make([]string, 0, len(mod.topics))
	for name := range mod.topics {
		names = append(names, name)
	}
	slices.Sort(names)
	replicas, _ := Place(i, 1+rng.IntN(4), 1+rng.IntN(3))
	switch n := rng.IntN(10); {
	case n < 4 || len(names) == 0:
		topic := NewTopic{Name: fmt.Sprint("topic-", rng.IntN(1<<30)), Replicas: replicas}
		for b := range topic.ID {
			topic.ID[b] = byte(rng.Uint32())
		}
		mod.topics[topic.Name] = &topic
		return &CreateTopics{Topics: []NewTopic{topic}}
	case n < 7:
		name := names[rng.IntN(len(names))]
		gone := mod.topics[name].ID
		delete(mod.topics, name)
		return &DeleteTopics{IDs: []TopicID{gone}}
	default:
		topic := mod.topics[names[rng.IntN(len(names))]]
		from := len(topic.Replicas)
		topic.Replicas = append(slices.Clone(topic.Replicas), replicas...)
		return &CreatePartitions{ID: topic.ID, From: from, Replicas: replicas}
	}
}

func (mod *model) check(t *testing.T, i *Image) {
	t.Helper()
	if i.TopicCount() != len(mod.topics) {
		t.Fatalf("%d topics, want %d", i.TopicCount(), len(mod.topics))
	}
	partitions, shards, load := 0, map[ShardID]bool{}, map[int32]Load{}
	for name, want := range mod.topics {
		got, ok := i.Topic(name)
		byID, ok2 := i.TopicByID(want.ID)
		byBytes, ok3 := i.TopicBytes([]byte(name))
		if !ok || !ok2 || !ok3 || got != byID || got != byBytes || len(got.Partitions) != len(want.Replicas) {
			t.Fatalf("topic %s: %+v", name, got)
		}
		for n := range got.Partitions {
			p := &got.Partitions[n]
			if !slices.Equal(p.Nodes(), want.Replicas[n]) || shards[p.Shard] || p.Shard < FirstShard {
				t.Fatalf("topic %s partition %d: %+v", name, n, p)
			}
			shards[p.Shard] = true
			partitions++
			for r, node := range p.Nodes() {
				l := load[node]
				l.Replicas++
				if r == 0 {
					l.Leaders++
				}
				load[node] = l
			}
		}
	}
	if i.PartitionCount() != partitions {
		t.Fatalf("%d partitions, want %d", i.PartitionCount(), partitions)
	}
	for node, l := range load {
		if i.NodeLoad(node) != l {
			t.Fatalf("node %d: %+v, want %+v", node, i.NodeLoad(node), l)
		}
	}
}

func TestPlace_SpreadsLeadersReplicasAndRacks(t *testing.T) {
	m := NewMachine()
	for n := range int32(6) {
		do(t, m, &RegisterBroker{Node: n, Rack: fmt.Sprint("rack ", n/2), Endpoints: []Endpoint{{}}})
	}
	replicas, refused := Place(m.Image(), 60, 3)
	if refused != nil {
		t.Fatal(refused)
	}
	leaders, all := map[int32]int{}, map[int32]int{}
	for _, nodes := range replicas {
		leaders[nodes[0]]++
		racks := map[int32]bool{}
		for _, n := range nodes {
			all[n]++
			racks[n/2] = true
		}
		if len(racks) != 3 {
			t.Errorf("%v stand in %d racks", nodes, len(racks))
		}
	}
	for n := range int32(6) {
		if leaders[n] != 10 || all[n] < 28 || all[n] > 32 {
			t.Errorf("node %d leads %d and has %d", n, leaders[n], all[n])
		}
	}
	for _, row := range []struct {
		partitions, factor int
		want               protocol.Code
	}{{0, 1, protocol.InvalidPartitions}, {1, 0, protocol.InvalidReplicationFactor}, {1, 7, protocol.InvalidReplicationFactor}} {
		if _, refused := Place(m.Image(), row.partitions, row.factor); refused == nil || refused.Code != row.want {
			t.Errorf("%+v: %v", row, refused)
		}
	}
}

func TestValidateTopicName(t *testing.T) {
	for _, good := range []string{"a", "A.b_c-9", "...", strings.Repeat("x", 249), "__consumer_offsets"} {
		if err := ValidateTopicName(good); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	for _, wrong := range []string{"", ".", "..", "a/b", "a b", "ä", "a\x00", "a\n", strings.Repeat("x", 250)} {
		if ValidateTopicName(wrong) == nil {
			t.Errorf("%q passes", wrong)
		}
	}
}

func TestWatch_TellsOfChanges(t *testing.T) {
	m := withBrokers(t, 1)
	var got []Change
	cancel := m.Watch(func(c Change) { got = append(got, c) })
	do(t, m, create("t", 1, []int32{1}))
	value := "v"
	do(t, m, &SetConfigs{Resource: ConfigCluster, Set: map[string]*string{"k": &value}})
	cancel()
	do(t, m, create("u", 2, []int32{1}))
	if len(got) != 3 || !got[0].All || got[1].All || !slices.Equal(got[1].Topics, []TopicID{id(1)}) || !got[2].All {
		t.Errorf("%+v", got)
	}
}

func BenchmarkApply_CreateTopicAmong100000(b *testing.B) {
	m := NewMachine()
	do := func(c Command) {
		raw, err := Encode(c)
		if err != nil {
			b.Fatal(err)
		}
		m.Apply(1, raw)
	}
	do(&RegisterBroker{Node: 1, Endpoints: []Endpoint{{}}})
	topic := func(n int) NewTopic {
		return NewTopic{Name: fmt.Sprint("t", n), ID: TopicID{1, byte(n), byte(n >> 8), byte(n >> 16), byte(n >> 24), 15: byte(n * 7)}, Replicas: [][]int32{{1}}}
	}
	n := 0
	for range 100 {
		var c CreateTopics
		for range 1000 {
			c.Topics = append(c.Topics, topic(n))
			n++
		}
		do(&c)
	}
	b.ResetTimer()
	for b.Loop() {
		do(&CreateTopics{Topics: []NewTopic{topic(n)}})
		n++
	}
}
