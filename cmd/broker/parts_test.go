package main

import (
	"bytes"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stelemq/stele/broker"
	"github.com/stelemq/stele/commitlog"
	"github.com/stelemq/stele/internal/config"
	"github.com/stelemq/stele/protocol/record"
)

func TestPortHolder_FindsThisProcess(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() //nolint:errcheck // the test ends
	if pid, name := portHolder("/proc", l.Addr().(*net.TCPAddr).Port); pid != os.Getpid() || name == "" {
		t.Errorf("pid %d (%s), want %d", pid, name, os.Getpid())
	}
	if pid, _ := portHolder(t.TempDir(), 9092); pid != 0 {
		t.Errorf("without /proc: pid %d", pid)
	}
}

func TestFreeAddress_TakesTheNextPort(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() //nolint:errcheck // the test ends
	busy := l.Addr().String()
	got, moved := freeAddress(busy)
	if got == busy || !strings.Contains(moved, "is in use") {
		t.Errorf("%s moved to %s, said %q", busy, got, moved)
	}
	if got, moved := freeAddress("127.0.0.1:0"); got != "127.0.0.1:0" || moved != "" {
		t.Errorf("port 0 moved to %s, said %q", got, moved)
	}
}

func TestNotify_WritesToTheSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close() //nolint:errcheck // the test ends
	t.Setenv("NOTIFY_SOCKET", path)
	notify("READY=1")
	if err := conn.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 64)
	n, err := conn.Read(buf)
	if err != nil || string(buf[:n]) != "READY=1" {
		t.Errorf("received %q, %v", buf[:n], err)
	}
}

func TestCgroupLimit_LeastOfThePath(t *testing.T) {
	mount := t.TempDir()
	self := filepath.Join(mount, "self")
	for path, text := range map[string]string{
		"self": "0::/a/b\n", "a/b/memory.max": "max\n", "a/memory.max": "1073741824\n", "memory.max": "2147483648\n",
	} {
		full := filepath.Join(mount, path)
		if err := os.MkdirAll(filepath.Dir(full), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(full, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if got := cgroupLimit(mount, self); got != 1<<30 {
		t.Errorf("limit %d, want 1 GiB", got)
	}
	if got := cgroupLimit(mount, filepath.Join(mount, "none")); got != 0 {
		t.Errorf("without a control group: %d", got)
	}
}

// segmentFile writes n batches of two records each and returns the file and where each batch begins.
func segmentFile(t *testing.T, n int) (path string, positions []int) {
	t.Helper()
	var file []byte
	for i := range n {
		var b record.Builder
		b.Append(record.Record{Timestamp: 1000, Key: []byte("k"), Value: []byte("v\x1b[31m")})
		b.Append(record.Record{Timestamp: 1001, Headers: []record.Header{{Key: "h", Value: []byte("w")}}})
		batch, err := b.Build(record.Zstd, 3)
		if err != nil {
			t.Fatal(err)
		}
		var head [record.PatchLen]byte
		record.Patch(&head, batch, record.Offset(2*i), 7)
		positions = append(positions, len(file))
		file = append(append(file, head[:]...), batch[record.PatchLen:]...)
	}
	dir := t.TempDir()
	r, err := commitlog.OpenRecovery(dir, commitlog.Options{Topic: "t", TopicID: [16]byte{1}})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(dir, "00000000000000000000.log")
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	return path, append(positions, len(file))
}

func TestLog_DumpAndVerify(t *testing.T) {
	path, at := segmentFile(t, 3)
	got := command(t, "log", "dump", path, "--records")
	if got.code != 0 || strings.Count(got.out, "\n") != 1+3*3 || !strings.Contains(got.out, `key="k" value="v\x1b[31m"`) || strings.ContainsRune(got.out, 0x1b) {
		t.Errorf("dump: code %d\n%s", got.code, got.out)
	}
	if got := command(t, "log", "dump", path, "--json", "--from", "3", "-n", "1"); !strings.Contains(got.out, `"base_offset":2,"last_offset":3,"leader_epoch":7,"count":2,"codec":"zstd"`) || strings.Count(got.out, "\n") != 1 {
		t.Errorf("dump --json: code %d\n%s", got.code, got.out)
	}
	if got := command(t, "log", "verify", "--deep", filepath.Dir(path)); got.code != 0 || !strings.Contains(got.out, ".log  3") {
		t.Errorf("verify: code %d\n%s%s", got.code, got.out, got.err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	// Cut at every byte of the last batch: a torn tail, never damage.
	for cut := at[2] + 1; cut < at[3]; cut++ {
		writeFile(t, path, whole[:cut])
		if got := command(t, "log", "verify", filepath.Dir(path)); got.code != 0 || !strings.Contains(got.out, "TORN") {
			t.Fatalf("cut at %d: code %d\n%s%s", cut, got.code, got.out, got.err)
		}
	}
	// One bit in the part that the CRC covers, in the length, in the base offset.
	for _, pos := range []int{at[1] + 7, at[1] + 8, at[1] + 21, at[1] + 30, at[2] - 1} {
		flipped := bytes.Clone(whole)
		flipped[pos] ^= 0x80
		writeFile(t, path, flipped)
		if got := command(t, "log", "verify", filepath.Dir(path)); got.code != 10 || !strings.Contains(got.out, "DAMAGE") {
			t.Errorf("flipped at %d: code %d\n%s", pos, got.code, got.out)
		}
		if got := command(t, "log", "dump", path); pos > at[1]+8 && (got.code != 10 || strings.Count(got.out, "\n") != 2) {
			t.Errorf("flipped at %d: code %d\n%s%s", pos, got.code, got.out, got.err)
		}
	}
}

func writeFile(t *testing.T, path string, text []byte) {
	t.Helper()
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestKafkaSettings_HaveKafkasUnits(t *testing.T) {
	c, err := config.Load(config.Request{DefaultsOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]broker.Setting{}
	for _, s := range brokerConfig(c).Settings {
		got[s.Name] = s
	}
	for name, want := range map[string]string{
		"log.roll.ms": "604800000", "log.segment.bytes": "268435456", "log.flush.interval.ms": "9223372036854775807",
		"min.insync.replicas": "auto", "auto.create.topics.enable": "true", "log.message.timestamp.before.max.ms": "9223372036854775807",
	} {
		if got[name].Value != want || got[name].Default != want || got[name].Explicit {
			t.Errorf("%s: %+v, want %s", name, got[name], want)
		}
	}
}
