package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stelemq/stele/bench/load"
	"github.com/stelemq/stele/bench/report"
)

func TestBench_EveryKindOfLoad(t *testing.T) {
	s := startServer(t, t.TempDir(), "start")
	for _, kind := range load.Kinds() {
		t.Run(kind, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "r.json")
			page := filepath.Join(t.TempDir(), "r.html")
			r := command(t, "bench", kind, "-b", s.address, "--bytes", "200", "--partitions", "2", "--fill", "1MiB", "--rate", rateOf(kind),
				"--warm-up", "20ms", "--duration", "200ms", "--pid", strconv.Itoa(os.Getpid()), "--out", path, "--html", page, "--durable")
			if r.code != exitOK {
				t.Fatalf("exit %d: %s", r.code, r.err)
			}
			f, err := report.Read(path)
			if err != nil {
				t.Fatal(err)
			}
			if len(f.Cells) != 1 || len(f.Cells[0].Runs) != 1 {
				t.Fatalf("cells %+v", f.Cells)
			}
			run := f.Cells[0].Runs[0]
			if run.Records == 0 || run.Bytes != run.Records*200 || run.Errors != 0 || run.Brokers == nil || run.Brokers.RSS == 0 {
				t.Errorf("measured %+v", run)
			}
			if timed := kind != load.Consume && kind != load.RawFetch; timed && (run.Latency == nil || run.Latency.P50 <= 0) {
				t.Errorf("latency %+v", run.Latency)
			}
			if text, err := os.ReadFile(page); err != nil || !strings.Contains(string(text), "<svg") {
				t.Errorf("the page: %v, %d bytes", err, len(text))
			}
		})
	}
	r := command(t, "topic", "list", "-b", s.address, "-o", "name")
	if strings.Contains(r.out, "bench-") {
		t.Errorf("topics are left: %s", r.out)
	}
}

// rateOf keeps loads that are timed from their due moment small.
func rateOf(kind string) string {
	if kind == load.E2E || kind == load.Cold {
		return "500"
	}
	return "0"
}

func TestBench_PartitionsAndDiff(t *testing.T) {
	s := startServer(t, t.TempDir(), "start")
	path := filepath.Join(t.TempDir(), "r.json")
	r := command(t, "bench", "partitions", "-b", s.address, "--counts", "1,3", "--rate", "200", "--warm-up", "10ms", "--duration", "100ms", "--out", path, "-o", "json")
	if r.code != exitOK {
		t.Fatalf("exit %d: %s", r.code, r.err)
	}
	var out struct {
		Items report.File `json:"items"`
	}
	if err := json.Unmarshal([]byte(r.out), &out); err != nil || len(out.Items.Cells) != 2 {
		t.Fatalf("%v: %s", err, r.out)
	}
	r = command(t, "bench", "diff", path, path)
	if r.code != exitOK || !strings.Contains(r.out, "3 partitions") || !strings.Contains(r.out, "1.00") {
		t.Errorf("exit %d: %s%s", r.code, r.out, r.err)
	}
}

func TestBench_Refuses(t *testing.T) {
	for _, args := range [][]string{
		{"produce", "--acks", "2"},
		{"produce", "--bytes", "1"},
		{"produce", "-o", "xml"},
		{"produce", "--compression", "rar"},
		{"failover"},
		{"compare", "--peer", "rabbit"},
		{"matrix", "no-such-file"},
		{"compare", "--only", "nothing has this name"},
		{"diff", "one"},
	} {
		if r := command(t, append([]string{"bench"}, args...)...); r.code != exitUsage || r.err == "" {
			t.Errorf("%v: exit %d: %s", args, r.code, r.err)
		}
	}
}

// Nothing answers: an error soon, and no table.
func TestBench_SaysWhenNobodyAnswers(t *testing.T) {
	r := command(t, "bench", "produce", "-b", "127.0.0.1:1")
	if r.code != exitFailure || r.out != "" || !strings.Contains(r.err, "127.0.0.1:1") {
		t.Errorf("exit %d: %s%s", r.code, r.out, r.err)
	}
}
