package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stelemq/stele/client"
)

// TestMeasure_CompactionOfALargeLog compacts one partition of STELE_MIB (10,240) MiB of records of 1,000 bytes with STELE_KEYS (16
// million) random keys in a broker process, with a map for keys of STELE_DEDUPE_MIB (128), and tells what memory it took. It
// needs twice the room on disk. With the defaults the map is full twice, so that there are three turns.
//
// The broker is started anew before it compacts: what filling the log took does not count.
func TestMeasure_CompactionOfALargeLog(t *testing.T) {
	if os.Getenv("STELE_MEASURE") == "" {
		t.Skip("measures; set STELE_MEASURE")
	}
	const valueBytes, segmentBytes, limit = 1000, 256 << 20, 256 << 20
	mib, keyCount, dedupe := measured("STELE_MIB", 10<<10), measured("STELE_KEYS", 16_000_000), measured("STELE_DEDUPE_MIB", 128)
	data := filepath.Join(t.TempDir(), "data")
	local := net.JoinHostPort("127.0.0.1", strconv.Itoa(quietPort(t)))
	start := func() *process {
		p := launchProcess(t, "--set", "log.dirs="+data, "--set", "listeners=PLAINTEXT://"+local, "--set", "log.format=json",
			"--set", "log.cleaner.backoff.ms=500", "--set", fmt.Sprintf("log.cleaner.dedupe.buffer.size=%dMiB", dedupe), "--set", "memory.limit=100MiB")
		p.expect(t, "READY=1")
		return p
	}
	command := func(args ...string) {
		cmd := exec.CommandContext(t.Context(), os.Args[0], append(args, "-b", local)...) //nolint:gosec // this very program
		cmd.Env = append(os.Environ(), envAsProgram+"=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", args, err, out)
		}
	}
	p := start()
	command("topic", "create", "t", "-p", "1", "-c", "cleanup.policy=delete", "-c", "retention.ms=-1", "-c", "flush.messages=9223372036854775807",
		"-c", fmt.Sprintf("segment.bytes=%d", segmentBytes), "-c", "min.cleanable.dirty.ratio=0.01")
	began := time.Now()
	keys := fill(t, local, mib<<20/(valueBytes+20), keyCount, valueBytes)
	t.Logf("%d records in %v", len(keys), time.Since(began).Round(time.Second))
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Wait(); err != nil {
		t.Fatalf("%v\n%s", err, p.errs)
	}

	p = start()
	before, cpu := memoryOf(t, p), cpuOf(t, p)
	command("topic", "alter", "t", "-c", "cleanup.policy=compact")
	began = time.Now()
	most := before
	var turns []turn
	for tick := time.NewTicker(100 * time.Millisecond); len(turns) == 0 || turns[len(turns)-1].Dirty < int64(len(keys)-segmentBytes/valueBytes); <-tick.C {
		m := memoryOf(t, p)
		most = memory{max(most.resident, m.resident), max(most.anonymous, m.anonymous)}
		if turns = turnsOf(p); time.Since(began) > 30*time.Minute {
			t.Fatalf("not in 30 minutes:\n%s", p.errs)
		}
	}
	took, used := time.Since(began), cpuOf(t, p)-cpu
	var read, removed int64
	for i, turn := range turns {
		t.Logf("turn %d: %d keys, %d records removed, %d MiB read, %d MiB written, clean below %d", i+1, turn.Keys, turn.Removed, turn.Read>>20, turn.Written>>20, turn.Dirty)
		read, removed = read+turn.Read, removed+turn.Removed
	}
	t.Logf("%d turns in %v, %v of processor time; %.0f MB/s read, %.0f MB/s for each core in use", len(turns), took.Round(time.Second), used.Round(100*time.Millisecond),
		float64(read)/took.Seconds()/1e6, float64(read)/used.Seconds()/1e6)
	t.Logf("memory before: %v; at most: %v", before, most)

	clean := turns[len(turns)-1].Dirty
	seen := make([]bool, keyCount)
	distinct := int64(0)
	for _, k := range keys[:clean] {
		if !seen[k] {
			seen[k] = true
			distinct++
		}
	}
	if want := clean - distinct; removed != want {
		t.Errorf("%d records were removed, want %d: below %d there are %d keys", removed, want, clean, distinct)
	}
	if most.resident > limit {
		t.Errorf("%v were in memory, want at most %d MiB", most, limit>>20)
	}
}

func measured(name string, otherwise int) int {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil {
		return n
	}
	return otherwise
}

// fill writes so many records with random keys to t-0 and returns the keys by offset.
func fill(t *testing.T, address string, records, keyCount, valueBytes int) []int32 {
	t.Helper()
	c, err := client.New(client.Options{Bootstrap: []string{address}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close() //nolint:errcheck // the test ends
	failed := make(chan error, 1)
	p, err := c.NewProducer(client.ProducerOptions{OnBatch: func(d client.BatchDelivery) {
		if d.Err != nil {
			select {
			case failed <- d.Err:
			default:
			}
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 1)) //nolint:gosec // not a secret
	value := bytes.Repeat([]byte("v"), valueBytes)
	keys := make([]int32, records)
	for i := range keys {
		keys[i] = rng.Int32N(int32(keyCount)) //nolint:gosec // millions
		if err := p.Produce(t.Context(), &client.Record{Topic: "t", Key: strconv.AppendInt(nil, int64(keys[i]), 36), Value: value}, nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-failed:
		t.Fatal(err)
	default:
	}
	return keys
}

// turn is what the broker logs of a turn of compaction.
type turn struct {
	Msg     string `json:"msg"`
	Topic   string `json:"topic"`
	Removed int64  `json:"removed"`
	Read    int64  `json:"read_bytes"`
	Written int64  `json:"written_bytes"`
	Keys    int    `json:"keys"`
	Dirty   int64  `json:"dirty_offset"`
}

func turnsOf(p *process) (turns []turn) {
	for line := range strings.SplitSeq(p.errs.String(), "\n") {
		var one turn
		if json.Unmarshal([]byte(line), &one) == nil && one.Msg == "compacted" && one.Topic == "t" {
			turns = append(turns, one)
		}
	}
	return turns
}

// memory is what the kernel counts for a process.
type memory struct{ resident, anonymous int64 }

func (m memory) String() string {
	return fmt.Sprintf("%d MiB resident, %d MiB of them not of files", m.resident>>20, m.anonymous>>20)
}

func memoryOf(t *testing.T, p *process) (m memory) {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		t.Skip(err)
	}
	for line := range strings.SplitSeq(string(text), "\n") {
		var kib int64
		if n, _ := fmt.Sscanf(line, "VmRSS: %d", &kib); n == 1 {
			m.resident = kib << 10
		}
		if n, _ := fmt.Sscanf(line, "RssAnon: %d", &kib); n == 1 {
			m.anonymous = kib << 10
		}
	}
	return m
}

// cpuOf is the processor time that a process has used.
func cpuOf(t *testing.T, p *process) time.Duration {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		t.Skip(err)
	}
	_, after, _ := strings.Cut(string(text), ") ")
	fields := strings.Fields(after)
	var sum time.Duration
	for _, ticks := range fields[11:13] { // utime, stime: hundredths of a second
		n, err := strconv.Atoi(ticks)
		if err != nil {
			t.Fatal(err)
		}
		sum += time.Duration(n) * 10 * time.Millisecond
	}
	return sum
}
