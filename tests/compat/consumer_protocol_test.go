package compat

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Groups of the consumer protocol (KIP-848), by the clients that speak it: alone, and together with members of the
// classic protocol while a live group is moved to the new protocol and back.

// Protocols, by the values of group.protocol.
const (
	protocolClassic  = "classic"
	protocolConsumer = "consumer"
)

// groupMember is a client that can be a member of a group.
type groupMember struct {
	name    string
	missing func() string
	// run consumes until ctx ends, then leaves; each gets the value of every record.
	run func(ctx context.Context, topic, group, protocol string, each func(value string)) error
}

func groupMembers() map[string]groupMember {
	return map[string]groupMember{
		"franz-go":        {"franz-go", alwaysThere, franzMember},
		"kafka-go":        {"kafka-go", alwaysThere, kafkaGoMember},
		"confluent-kafka": {"confluent-kafka", missingFile(pythonPath()), pythonMember},
		"java":            {"java", javaMissing, javaMember},
	}
}

func franzMember(ctx context.Context, topic, group, protocol string, each func(string)) error {
	opts := []kgo.Opt{
		kgo.SeedBrokers(theBroker.bootstrap), kgo.ConsumerGroup(group), kgo.ConsumeTopics(topic), kgo.HeartbeatInterval(500 * time.Millisecond),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxWait(200 * time.Millisecond), kgo.AutoCommitInterval(200 * time.Millisecond),
	}
	if protocol == protocolConsumer {
		opts = append(opts, kgo.ServerSideBalancer(), kgo.Balancers(kgo.StickyBalancer()))
	}
	cl, err := kgo.NewClient(opts...)
	if err != nil {
		return err
	}
	defer cl.Close()
	for ctx.Err() == nil {
		fetches := cl.PollFetches(ctx)
		for _, e := range fetches.Errors() {
			if ctx.Err() == nil {
				return e.Err
			}
		}
		fetches.EachRecord(func(r *kgo.Record) { each(string(r.Value)) })
	}
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	if err := cl.CommitUncommittedOffsets(end); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	return cl.LeaveGroupContext(end)
}

// kafkaGoMember speaks the classic protocol alone.
func kafkaGoMember(ctx context.Context, topic, group, _ string, each func(string)) error {
	r := kafka.NewReader(kafka.ReaderConfig{
		Brokers: []string{theBroker.bootstrap}, GroupID: group, Topic: topic, MaxWait: 100 * time.Millisecond, StartOffset: kafka.FirstOffset,
		HeartbeatInterval: 300 * time.Millisecond, JoinGroupBackoff: 100 * time.Millisecond,
	})
	for {
		m, err := r.ReadMessage(ctx)
		if err != nil {
			if ctx.Err() != nil {
				err = nil
			}
			return errors.Join(err, r.Close())
		}
		each(string(m.Value))
	}
}

func pythonMember(ctx context.Context, topic, group, protocol string, each func(string)) error {
	return memberProgram(ctx, each, nil, pythonPath(), pythonArgs("confluent-kafka", "member", topic, group, protocol)...)
}

func javaMember(ctx context.Context, topic, group, protocol string, each func(string)) error {
	args := []string{
		"--bootstrap-server", theBroker.bootstrap, "--topic", topic, "--group", group, "--command-property", "group.protocol=" + protocol,
		"--command-property", "auto.offset.reset=earliest", "--command-property", "auto.commit.interval.ms=200",
	}
	if protocol == protocolClassic {
		args = append(args, "--command-property", "heartbeat.interval.ms=500")
	}
	return memberProgram(ctx, each, os.Interrupt, "bash", javaArgs("ConsoleConsumer", args...)...)
}

// memberProgram runs a program that prints values until ctx ends; then its input ends, or it gets the signal, and it may
// take a while to leave.
func memberProgram(ctx context.Context, each func(string), signal os.Signal, name string, args ...string) error {
	cmd := exec.Command(name, args...)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	var stderr strings.Builder
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() {
		_ = stdin.Close()
		if signal != nil {
			_ = cmd.Process.Signal(signal)
		}
	})
	defer stop()
	kill := context.AfterFunc(ctx, func() { time.AfterFunc(20*time.Second, func() { _ = cmd.Process.Kill() }) })
	defer kill()
	for lines := bufio.NewScanner(stdout); lines.Scan(); {
		each(lines.Text())
	}
	_, _ = io.Copy(io.Discard, stdout)
	if err := cmd.Wait(); err != nil && (ctx.Err() == nil || signal == nil) { // a signal's exit code says nothing
		return fmt.Errorf("%w\n%s", err, stderr.String())
	}
	return nil
}

// running is a member that has been started.
type running struct {
	t      *testing.T
	name   string
	cancel context.CancelFunc
	ended  chan error

	mu   sync.Mutex
	seen map[string]int
}

func join(t *testing.T, m groupMember, topic, group, protocol string) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	r := &running{t: t, name: m.name + "/" + protocol, cancel: cancel, ended: make(chan error, 1), seen: map[string]int{}}
	go func() {
		r.ended <- m.run(ctx, topic, group, protocol, func(value string) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.seen[value]++
		})
	}()
	t.Cleanup(r.leave)
	return r
}

// leave ends the member and waits until it has gone.
func (r *running) leave() {
	r.t.Helper()
	if r.cancel == nil {
		return
	}
	r.cancel()
	r.cancel = nil
	if err := <-r.ended; err != nil {
		r.t.Errorf("%s: %v", r.name, err)
	}
}

// of counts the values with a prefix, and those among them that came more than once.
func (r *running) of(prefix string) (values, again int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for v, n := range r.seen {
		if strings.HasPrefix(v, prefix) {
			values++
			if n > 1 {
				again++
			}
		}
	}
	return values, again
}

// produceRound writes n values that begin with prefix to each of the three partitions.
func produceRound(t *testing.T, topic, prefix string, n int) {
	t.Helper()
	cl := admin(t, kgo.RecordPartitioner(kgo.ManualPartitioner()))
	defer cl.Close()
	var recs []*kgo.Record
	for i := range 3 * n {
		recs = append(recs, &kgo.Record{Topic: topic, Partition: int32(i % 3), Value: fmt.Appendf(nil, "%s%03d", prefix, i)})
	}
	if err := cl.ProduceSync(limit(t), recs...).FirstErr(); err != nil {
		t.Fatal(err)
	}
}

// awaitGroup waits until a group is of a type, stable, and has members of both protocols as told.
func awaitGroup(t *testing.T, group string, classic, consumer int) {
	t.Helper()
	cl := admin(t)
	defer cl.Close()
	said := ""
	defer func() {
		if t.Failed() {
			t.Log(said)
		}
	}()
	poll(t, fmt.Sprintf("%s with %d classic and %d other members", group, classic, consumer), func() bool {
		if consumer == 0 {
			req := kmsg.NewPtrDescribeGroupsRequest()
			req.Groups = []string{group}
			resp, err := req.RequestWith(limit(t), cl)
			if err != nil {
				return false
			}
			said = fmt.Sprintf("%+v", resp.Groups[0])
			d := kmsg.NewPtrConsumerGroupDescribeRequest()
			d.Groups = []string{group}
			if r, err := d.RequestWith(limit(t), cl); err == nil {
				said += fmt.Sprintf("\n%+v", r.Groups[0])
			}
			return resp.Groups[0].State == "Stable" && len(resp.Groups[0].Members) == classic
		}
		req := kmsg.NewPtrConsumerGroupDescribeRequest()
		req.Groups = []string{group}
		resp, err := req.RequestWith(limit(t), cl)
		if err != nil {
			return false
		}
		g := resp.Groups[0]
		said = fmt.Sprintf("%+v", g)
		types := map[int8]int{}
		for _, m := range g.Members {
			types[m.MemberType]++
		}
		return g.State == "Stable" && len(g.Members) == classic+consumer && types[0] == classic && types[1] == consumer
	})
}

func awaitGroupType(t *testing.T, group, want string) {
	t.Helper()
	cl := admin(t)
	defer cl.Close()
	req := kmsg.NewPtrListGroupsRequest()
	req.TypesFilter = []string{want}
	resp, err := req.RequestWith(limit(t), cl)
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range resp.Groups {
		if g.Group == group && g.GroupType == want && g.ProtocolType == "consumer" {
			return
		}
	}
	t.Errorf("ListGroups does not list %s as %s: %+v", group, want, resp.Groups)
}

// A member consumes and commits by the consumer protocol, leaves, and goes on later where it was.
func TestConsumerProtocol_Alone(t *testing.T) {
	for _, name := range []string{"franz-go", "confluent-kafka", "java"} {
		t.Run(name, func(t *testing.T) {
			m := groupMembers()[name]
			need(t, client{name: m.name, missing: m.missing})
			t.Parallel()
			topic := newTopic(t, 3)
			produceRound(t, topic, "a", 20)
			one := join(t, m, topic, topic, protocolConsumer)
			poll(t, "all records of the first round", func() bool { n, _ := one.of("a"); return n == 60 })
			awaitGroup(t, topic, 0, 1)
			awaitGroupType(t, topic, protocolConsumer)
			// A second member gets its share, and nothing comes twice once both are settled.
			two := join(t, m, topic, topic, protocolConsumer)
			awaitGroup(t, topic, 0, 2)
			produceRound(t, topic, "b", 20)
			shared(t, "b", 60, one, two)
			one.leave()
			two.leave()

			produceRound(t, topic, "c", 20)
			back := join(t, m, topic, topic, protocolConsumer)
			poll(t, "all records of the last round", func() bool { n, _ := back.of("c"); return n == 60 })
			if n, _ := back.of(""); n != 60 {
				t.Errorf("%d records that were committed came again", n-60)
			}
		})
	}
}

// shared waits until the members have consumed all values of a round, each member some, and holds that none came twice.
func shared(t *testing.T, prefix string, want int, members ...*running) {
	t.Helper()
	poll(t, fmt.Sprintf("all %d records of round %s", want, prefix), func() bool {
		all := map[string]bool{}
		for _, m := range members {
			m.mu.Lock()
			for v := range m.seen {
				if strings.HasPrefix(v, prefix) {
					all[v] = true
				}
			}
			m.mu.Unlock()
		}
		return len(all) == want
	})
	sum := 0
	for _, m := range members {
		n, again := m.of(prefix)
		if n == 0 || again > 0 {
			t.Errorf("%s has %d records of round %s, %d of them twice", m.name, n, prefix, again)
		}
		sum += n
	}
	if sum != want {
		t.Errorf("%d records of round %s came to two members", sum-want, prefix)
	}
}

// A live group of the classic protocol is moved to the consumer protocol, member by member, and back.
func TestConsumerProtocol_LiveMigration(t *testing.T) {
	for _, row := range []struct{ classic, consumer string }{
		{"franz-go", "franz-go"},
		{"confluent-kafka", "confluent-kafka"},
		{"java", "java"},
		{"kafka-go", "java"}, // an eager member, and one of the other
		{"confluent-kafka", "franz-go"},
	} {
		t.Run(row.classic+" and "+row.consumer, func(t *testing.T) {
			old, next := groupMembers()[row.classic], groupMembers()[row.consumer]
			need(t, client{name: old.name, missing: old.missing})
			need(t, client{name: next.name, missing: next.missing})
			t.Parallel()
			topic := newTopic(t, 3)
			produceRound(t, topic, "a", 20)
			first := join(t, old, topic, topic, protocolClassic)
			poll(t, "all records of the first round", func() bool { n, _ := first.of("a"); return n == 60 })
			awaitGroup(t, topic, 1, 0)
			awaitGroupType(t, topic, protocolClassic)

			second := join(t, next, topic, topic, protocolConsumer)
			awaitGroup(t, topic, 1, 1)
			awaitGroupType(t, topic, protocolConsumer)
			produceRound(t, topic, "b", 20)
			shared(t, "b", 60, first, second)

			second.leave() // back
			awaitGroup(t, topic, 1, 0)
			awaitGroupType(t, topic, protocolClassic)
			produceRound(t, topic, "c", 20)
			shared(t, "c", 60, first)

			third := join(t, next, topic, topic, protocolConsumer)
			awaitGroup(t, topic, 1, 1)
			first.leave()
			awaitGroup(t, topic, 0, 1)
			produceRound(t, topic, "d", 20)
			shared(t, "d", 60, third)
		})
	}
}
