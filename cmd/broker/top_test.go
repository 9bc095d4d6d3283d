package main

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stelemq/stele/client"
)

func TestTop_Report(t *testing.T) {
	at := time.Unix(1_700_000_000, 0)
	sample := func(seconds int, a0, a1, b0, committed int64) *topSample {
		return &topSample{
			at: at.Add(time.Duration(seconds) * time.Second),
			nodes: []nodeView{
				{Node: client.Node{Broker: client.Broker{ID: 1}}}, {Node: client.Node{Broker: client.Broker{ID: 2}}},
			},
			topics: []client.Topic{
				{Name: "b", Partitions: []client.Partition{{ID: 0, Leader: -1, Replicas: []int32{2}}}},
				{Name: "a", Partitions: []client.Partition{
					{ID: 0, Leader: 1, Replicas: []int32{1, 2}, ISR: []int32{1}}, {ID: 1, Leader: 2, Replicas: []int32{1, 2}, ISR: []int32{1, 2}},
				}},
			},
			ends:   map[string]map[int32]int64{"a": {0: a0, 1: a1}, "b": {0: b0}},
			groups: []topGroupSample{{"g", "Stable", map[client.TopicPartition]int64{{Topic: "a", Partition: 0}: committed, {Topic: "a", Partition: 1}: a1 + 5}}},
		}
	}
	first, second := sample(0, 100, 50, 9, 40), sample(2, 300, 60, 0, 80)
	r := second.report(first)
	if r.Topics[0].Topic != "a" || *r.Topics[0].Rate != 105 || *r.Topics[1].Rate != 0 || r.Topics[0].UnderReplicated != 1 || r.Topics[1].Offline != 1 {
		t.Errorf("topics %+v", r.Topics)
	}
	if n := r.Nodes; *n[0].Rate != 100 || *n[1].Rate != 5 || n[0].Leaders != 1 || n[1].Replicas != 3 || n[1].UnderReplicated != 2 {
		t.Errorf("nodes %+v", n)
	}
	if g := r.Groups[0]; g.Lag != 220 || *g.Rate != 25 { // what is beyond the end does not count
		t.Errorf("group %+v, %v records/s", g, *g.Rate)
	}
	if r.Offline != 1 || r.UnderReplicated != 2 || *r.Rate != 105 {
		t.Errorf("%+v", r)
	}
	if r := first.report(nil); r.Rate != nil || rateText(r.Topics[0].Rate) != "-" {
		t.Error("a rate from one sample")
	}
	if text := string(r.screen(1)); strings.Contains(text, "\nb ") || !strings.Contains(text, "\na ") {
		t.Errorf("more rows than there is room for:\n%s", text)
	}
}

func TestTop_OnceAndJSON(t *testing.T) {
	s := startServer(t, filepath.Join(t.TempDir(), "data"), "start")
	if r := command(t, "topic", "create", "watched", "-b", s.address); r.code != 0 {
		t.Fatal(r)
	}
	r := command(t, "top", "--once", "--interval", "100ms", "-b", s.address)
	if r.code != 0 || !strings.Contains(r.out, " topic watched partitions=1 records/s=0 end=0 offline=0 under_replicated=0\n") || strings.Contains(r.out, "\x1b") {
		t.Errorf("%+v", r)
	}
	r = command(t, "top", "-n", "2", "--interval", "100ms", "-o", "json", "-b", s.address)
	lines := strings.Split(strings.TrimSpace(r.out), "\n")
	if r.code != 0 || len(lines) != 2 {
		t.Fatalf("%+v", r)
	}
	var e struct {
		Kind  string
		Items []topReport
	}
	if err := json.Unmarshal([]byte(lines[1]), &e); err != nil || e.Kind != "Top" || len(e.Items) != 1 || len(e.Items[0].Nodes) != 1 {
		t.Errorf("%v %+v", err, e)
	}
	if r := command(t, "top", "--interval", "1ms", "-b", s.address); r.code != exitUsage {
		t.Errorf("%+v", r)
	}
	if r := command(t, "top", "-b", "127.0.0.1:1", "--timeout", "1s"); r.code != exitFailure {
		t.Errorf("%+v", r)
	}
}
