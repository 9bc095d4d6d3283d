package compat

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"
)

// groupReader is a client that reads n records of a topic as a member of a group, from where the group is or else from the
// start, commits them, leaves, and returns their values.
type groupReader struct {
	name    string
	missing func() string
	read    func(t *testing.T, group, topic string, n int) []string
}

func groupReaders() []groupReader {
	python := func(library string) groupReader {
		return groupReader{library, missingFile(pythonPath()), func(t *testing.T, group, topic string, n int) []string {
			t.Helper()
			return strings.Fields(python(t, library, "group", group, topic, strconv.Itoa(n)))
		}}
	}
	sar := func(newest bool) func(t *testing.T, group, topic string, n int) []string {
		return func(t *testing.T, group, topic string, n int) []string {
			t.Helper()
			return saramaGroup(t, newest, group, topic, n)
		}
	}
	return []groupReader{
		{"franz-go", alwaysThere, func(t *testing.T, group, topic string, n int) []string {
			t.Helper()
			return franzGroup(t, group, topic, n, kgo.Balancers(kgo.CooperativeStickyBalancer()))
		}},
		{"franz-go range", alwaysThere, func(t *testing.T, group, topic string, n int) []string {
			t.Helper()
			return franzGroup(t, group, topic, n, kgo.Balancers(kgo.RangeBalancer()), kgo.InstanceID("one"))
		}},
		{"sarama", alwaysThere, sar(false)},
		{"sarama newest", alwaysThere, sar(true)},
		{"kafka-go", alwaysThere, kafkaGoGroup},
		{"kcat", kcatClient().missing, func(t *testing.T, group, topic string, n int) []string {
			t.Helper()
			return strings.Fields(string(kcat(t, nil, "-G", group, "-c", strconv.Itoa(n), "-X", "auto.offset.reset=earliest", "-f", `%s\n`, topic)))
		}},
		python("confluent-kafka"),
		python("kafka-python"),
		{"kafkajs", kafkajsClient().missing, func(t *testing.T, group, topic string, n int) []string {
			t.Helper()
			modules := cache("compat", "kafkajs", "node_modules")
			return strings.Fields(string(program(t, nil, "env", "NODE_PATH="+modules, "node", "clients/kafkajs/group.js", theBroker.bootstrap, group, topic, strconv.Itoa(n))))
		}},
		{"java", javaMissing, func(t *testing.T, group, topic string, n int) []string {
			t.Helper()
			return strings.Fields(string(javaTool(t, nil, "ConsoleConsumer", "--bootstrap-server", theBroker.bootstrap, "--topic", topic,
				"--group", group, "--from-beginning", "--max-messages", strconv.Itoa(n), "--timeout-ms", "60000")))
		}},
		{"stele", alwaysThere, func(t *testing.T, group, topic string, n int) []string {
			t.Helper()
			return strings.Fields(string(program(t, nil, theBroker.program(t, "consumer"), "-b", theBroker.bootstrap, "-t", topic, "-g", group, "--from-beginning", "-n", strconv.Itoa(n))))
		}},
	}
}

func franzGroup(t *testing.T, group, topic string, n int, opts ...kgo.Opt) []string {
	t.Helper()
	cl := admin(t, append([]kgo.Opt{
		kgo.ConsumerGroup(group), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.DisableAutoCommit(),
		kgo.FetchMaxWait(200 * time.Millisecond),
	}, opts...)...)
	var got []string
	ctx := limit(t)
	franzPoll(ctx, t, cl, n, func(r *kgo.Record) { got = append(got, string(r.Value)) })
	if err := cl.CommitUncommittedOffsets(ctx); err != nil {
		t.Fatalf("commit: %v", err)
	}
	cl.LeaveGroup()
	cl.Close()
	return got
}

// saramaMember collects values until there are enough.
type saramaMember struct {
	n    int
	got  []string
	stop context.CancelFunc
}

func (*saramaMember) Setup(sarama.ConsumerGroupSession) error   { return nil }
func (*saramaMember) Cleanup(sarama.ConsumerGroupSession) error { return nil }

func (m *saramaMember) ConsumeClaim(s sarama.ConsumerGroupSession, c sarama.ConsumerGroupClaim) error {
	for msg := range c.Messages() {
		m.got = append(m.got, string(msg.Value))
		s.MarkMessage(msg, "")
		if len(m.got) == m.n {
			s.Commit()
			m.stop()
			return nil
		}
	}
	return nil
}

func saramaGroup(t *testing.T, newest bool, group, topic string, n int) []string {
	t.Helper()
	cfg := saramaConfig(newest)
	cfg.Consumer.Offsets.Initial = sarama.OffsetOldest
	cfg.Consumer.Offsets.AutoCommit.Enable = false
	g, err := sarama.NewConsumerGroup([]string{theBroker.bootstrap}, group, cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer quietly(g)
	ctx, stop := context.WithCancel(limit(t))
	defer stop()
	m := &saramaMember{n: n, stop: stop}
	for ctx.Err() == nil {
		if err := g.Consume(ctx, []string{topic}, m); err != nil && ctx.Err() == nil && !errors.Is(err, sarama.ErrClosedConsumerGroup) {
			t.Fatal(err)
		}
	}
	return m.got
}

func kafkaGoGroup(t *testing.T, group, topic string, n int) []string {
	t.Helper()
	r := kafka.NewReader(kafka.ReaderConfig{
		Brokers: []string{theBroker.bootstrap}, GroupID: group, Topic: topic, StartOffset: kafka.FirstOffset, MaxWait: 200 * time.Millisecond,
	})
	defer quietly(r)
	var got []string
	ctx := limit(t)
	for len(got) < n {
		m, err := r.ReadMessage(ctx) // commits
		if err != nil {
			t.Fatalf("after %d of %d: %v", len(got), n, err)
		}
		got = append(got, string(m.Value))
	}
	return got
}

// TestGroups_EveryClientGoesOnWhereItWas reads some as a member of a group, comes back, and gets the rest once.
func TestGroups_EveryClientGoesOnWhereItWas(t *testing.T) {
	for _, c := range groupReaders() {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if what := c.missing(); what != "" {
				absent(t, fmt.Sprintf("%s is not installed: %s", c.name, what))
			}
			topic, group := newTopic(t, 1), topicName(t.Name())+"-group"
			var recs []record
			var values []string
			for i := range 60 {
				values = append(values, fmt.Sprintf("value-%02d", i))
				recs = append(recs, record{Value: []byte(values[i])})
			}
			franzProduce(t, topic, "none", recs[:40])
			if got := c.read(t, group, topic, 40); !slices.Equal(got, values[:40]) {
				t.Fatalf("first: %v", got)
			}
			if at := committedOffset(t, group, topic); at != 40 {
				t.Errorf("committed %d, want 40", at)
			}
			franzProduce(t, topic, "none", recs[40:])
			if got := c.read(t, group, topic, 20); !slices.Equal(got, values[40:]) {
				t.Fatalf("second: %v", got)
			}
			if at := committedOffset(t, group, topic); at != 60 {
				t.Errorf("committed %d, want 60", at)
			}
		})
	}
}

// committedOffset is what a group has committed of partition 0.
func committedOffset(t *testing.T, group, topic string) int64 {
	t.Helper()
	req := kmsg.NewPtrOffsetFetchRequest()
	g := kmsg.NewOffsetFetchRequestGroup()
	g.Group = group
	g.Topics = []kmsg.OffsetFetchRequestGroupTopic{{Topic: topic, Partitions: []int32{0}}}
	req.Groups = []kmsg.OffsetFetchRequestGroup{g}
	req.Group = group
	req.Topics = []kmsg.OffsetFetchRequestTopic{{Topic: topic, Partitions: []int32{0}}}
	cl := admin(t, kgo.MaxVersions(kversion.V4_0_0()))
	resp, err := req.RequestWith(limit(t), cl)
	if err != nil {
		t.Fatal(err)
	}
	if len(resp.Groups) > 0 {
		return resp.Groups[0].Topics[0].Partitions[0].Offset
	}
	return resp.Topics[0].Partitions[0].Offset
}

// TestGroups_KafkasOwnTool describes and resets a group by kafka-consumer-groups.
func TestGroups_KafkasOwnTool(t *testing.T) {
	t.Parallel()
	need(t, javaClient())
	topic, group := newTopic(t, 1), topicName(t.Name())+"-group"
	franzProduce(t, topic, "none", generate(shape{}, 30, 1))
	franzGroup(t, group, topic, 30)
	tool := func(args ...string) string {
		return string(javaTool(t, nil, "ConsumerGroupCommand", append([]string{"--bootstrap-server", theBroker.bootstrap}, args...)...))
	}
	if said := tool("--list", "--state"); !strings.Contains(said, group) || !strings.Contains(said, "Empty") {
		t.Errorf("--list:\n%s", said)
	}
	if said := strings.Join(strings.Fields(tool("--describe", "--group", group)), " "); !strings.Contains(said, fmt.Sprintf("%s %s 0 30 30 0 - - -", group, topic)) {
		t.Errorf("--describe:\n%s", said)
	}
	tool("--reset-offsets", "--group", group, "--topic", topic, "--shift-by", "-10", "--execute")
	if at := committedOffset(t, group, topic); at != 20 {
		t.Errorf("after --reset-offsets: %d, want 20", at)
	}
	tool("--delete-offsets", "--group", group, "--topic", topic)
	if at := committedOffset(t, group, topic); at != -1 {
		t.Errorf("after --delete-offsets: %d", at)
	}
	franzGroup(t, group, topic, 30)
	if said := tool("--delete", "--group", group); !strings.Contains(said, "successful") {
		t.Errorf("--delete:\n%s", said)
	}
	if said := tool("--list"); strings.Contains(said, group) {
		t.Errorf("--list after --delete:\n%s", said)
	}
}
