package report

import (
	"bytes"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/stelemq/stele/bench/load"
	"github.com/stelemq/stele/bench/machine"
)

func run(mb, p99 float64) load.Result {
	return load.Result{MBPerSecond: mb, RecordsPerSecond: mb * 1000, Latency: &load.Latency{Count: 1, P99: p99}}
}

// sample has two systems: the first has twice the rate, and a worse p99.
func sample() *File {
	f := NewFile("a <title>", "broker bench", machine.Facts{CPU: "cpu"}, "ours", "theirs")
	f.Cell("produce", "ours").Runs = []load.Result{run(200, 9), run(100, 8), run(300, 30)}
	f.Cell("produce", "theirs").Runs = []load.Result{run(100, 3), run(100, 3), run(90, 4)}
	f.Cell("start", "ours").Add("first ack", 120)
	f.Cell("start", "theirs").Add("first ack", 3600)
	f.Cell("failover", "theirs").Failed = []string{"it did not come back"}
	return f
}

func TestText_ComparesByMedians(t *testing.T) {
	var b bytes.Buffer
	if err := sample().Text(&b); err != nil {
		t.Fatal(err)
	}
	squeezed := strings.Join(strings.Fields(b.String()), " ")
	for _, want := range []string{
		"rate MB/s 200 [100–300] 100 [90.0–100] 2.00 ",
		"p99 ms 9 [8–30.0] 3 [3–4] 3.00 (loses)",
		"start first ack ms 120 3600 0.03 ",
		"failover theirs FAILED: it did not come back",
	} {
		if !strings.Contains(squeezed+" ", want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
}

func TestFile_SurvivesItsJSON(t *testing.T) {
	f := sample()
	path := filepath.Join(t.TempDir(), "r.json")
	if err := f.Write(path); err != nil {
		t.Fatal(err)
	}
	back, err := Read(path)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(f, back) {
		t.Errorf("got %+v\nwant %+v", back, f)
	}
	back.Version++
	if err := back.Write(path); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(path); err == nil {
		t.Error("a file of a later format was read")
	}
}

func TestHTML_LoadsNothingAndEscapes(t *testing.T) {
	var b bytes.Buffer
	if err := sample().HTML(&b); err != nil {
		t.Fatal(err)
	}
	page := b.String()
	if !strings.Contains(page, "a &lt;title&gt;") || strings.Contains(page, "a <title>") {
		t.Error("the title is not escaped")
	}
	for _, loads := range []string{"src=", "href=", "http://", "https://", "@import"} {
		if strings.Contains(page, loads) {
			t.Errorf("the page has %q", loads)
		}
	}
	if n := strings.Count(page, "<rect"); n < 6 {
		t.Errorf("%d bars, want two of each figure", n)
	}
}

func TestDiff_TellsChanceFromDifference(t *testing.T) {
	before, after := sample(), sample()
	after.Cell("produce", "theirs").Runs = []load.Result{run(50, 3), run(60, 3), run(55, 3.5)}
	var b bytes.Buffer
	if err := Diff(&b, before, after); err != nil {
		t.Fatal(err)
	}
	squeezed := strings.Join(strings.Fields(b.String()), " ")
	for _, want := range []string{
		"produce theirs rate MB/s 100 [90.0–100] 55.0 [50.0–60.0] 0.55 worse",
		"produce theirs p99 ms 3 [3–4] 3 [3–3.5] 1.00 ~",
		"produce ours rate MB/s 200 [100–300] 200 [100–300] 1.00 ~",
	} {
		if !strings.Contains(squeezed, want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
}
