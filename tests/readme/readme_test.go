package readme

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// blocks are the command blocks of a Markdown file.
func blocks(t *testing.T, path string) []string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, m := range regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllSubmatch(text, -1) {
		found = append(found, string(m[1]))
	}
	return found
}

func TestReadme_LanguagesHaveTheSameBlocks(t *testing.T) {
	if en, zh := blocks(t, "../../README.md"), blocks(t, "../../README.zh-CN.md"); !slices.Equal(en, zh) {
		t.Errorf("README.md has\n%q\nREADME.zh-CN.md has\n%q", en, zh)
	}
}

// stage is a folder that looks like a fresh clone to the commands, with programs that use a free port.
type stage struct {
	dir, bin, port string
}

// shims stand before the programs in PATH: the README's commands use port 9092, which may be taken here.
const shims = `
go:      case "$1 $2" in "run ./cmd/broker") shift 2; exec "$REAL/broker" --port "$PORT" --set http.listen=127.0.0.1:0 "$@";; "install ./cmd/...") exit 0;; esac; exit 99
make:    [ "$*" = test ] && exec "$MAKE" -C "$REPO" -n test; exit 99
broker:  [ "$1 $2" = "dev -n" ] && exec "$REAL/broker" "$@" --port "$DEVPORT" --set storage.reject.percent=0; [ -e data-dev ] && exec "$REAL/broker" "$@"; case "$1" in topic|group|cluster) exec "$REAL/broker" "$@" -b "127.0.0.1:$PORT";; esac; exec "$REAL/broker" "$@"
producer: [ -e data-dev ] && exec "$REAL/producer" "$@"; exec "$REAL/producer" -b "127.0.0.1:$PORT" "$@"
consumer: [ -e data-dev ] && exec "$REAL/consumer" "$@"; exec "$REAL/consumer" -b "127.0.0.1:$PORT" "$@"
kcat:    set -- $(for a; do case "$a" in localhost:9092) echo "127.0.0.1:$PORT";; *) printf '%s\n' "$a";; esac; done); exec "$KCAT" "$@"
`

func newStage(t *testing.T) *stage {
	t.Helper()
	repo, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	kcat, err := exec.LookPath("kcat")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("kcat is missing: apt-get install kcat")
		}
		t.Skip("kcat is missing: apt-get install kcat")
	}
	mk, err := exec.LookPath("make")
	if err != nil {
		t.Skip("make is missing")
	}
	s := &stage{dir: t.TempDir(), bin: t.TempDir(), port: freePort(t)}
	programs := t.TempDir()
	build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-o", programs+"/", "./cmd/...")
	build.Dir = repo
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	for _, name := range []string{"README.md", "CHANGELOG.md"} {
		text, err := os.ReadFile(filepath.Join(repo, name))
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(s.dir, name), string(text), 0o600)
	}
	head := fmt.Sprintf("#!/bin/bash\nREAL=%q PORT=%s DEVPORT=%d REPO=%q MAKE=%q KCAT=%q IFS=$'\\n'\n", programs, s.port, 20_000+rand.IntN(10_000), repo, mk, kcat)
	for line := range strings.Lines(strings.TrimSpace(shims)) {
		name, body, _ := strings.Cut(line, ":")
		write(t, filepath.Join(s.bin, name), head+strings.TrimSpace(body)+"\n", 0o700)
	}
	return s
}

func write(t *testing.T, path, text string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() //nolint:errcheck // only its number is wanted
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

func (s *stage) shell(ctx context.Context, block string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", block)
	cmd.Dir = s.dir
	cmd.Env = append(os.Environ(), "PATH="+s.bin+":"+os.Getenv("PATH"))
	return cmd
}

func TestReadme_EveryBlockRuns(t *testing.T) {
	s := newStage(t)
	all := blocks(t, "../../README.md")
	if len(all) < 3 || !strings.HasPrefix(all[0], "go run ./cmd/broker") {
		t.Fatalf("blocks %q: want the broker first", all)
	}
	broker := s.shell(t.Context(), "exec "+all[0])
	var said bytes.Buffer
	broker.Stderr = &said
	broker.Cancel = func() error { return broker.Process.Signal(syscall.SIGTERM) }
	if err := broker.Start(); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	for !s.answers() {
		if time.Since(began) > 30*time.Second {
			t.Fatal("the broker does not answer")
		}
	}
	t.Logf("the broker answers after %s", time.Since(began))
	for _, block := range all[1:] {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		out, err := s.shell(ctx, block).CombinedOutput()
		cancel()
		t.Logf("%s\n%s", block, out)
		if err != nil {
			t.Errorf("%v", err)
		}
		if strings.Contains(block, "consumer -t greetings") && !bytes.Contains(out, []byte("\nhello\n")) {
			t.Error("the tour did not print hello")
		}
		if strings.Contains(block, "broker dev") && (!bytes.Contains(out, []byte("\nagain\n")) || !bytes.Contains(out, []byte("unhealthy"))) {
			t.Error("the cluster's tour did not print again, or did not find out that a broker was down")
		}
	}
	if err := broker.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := broker.Wait(); err != nil || !strings.Contains(said.String(), "data is kept in ./data") {
		t.Errorf("the broker ended with %v and said\n%s", err, said.String())
	}
}

// answers tries the port; each try waits a little, so that the caller may loop.
func (s *stage) answers() bool {
	conn, err := net.DialTimeout("tcp", "127.0.0.1:"+s.port, time.Second) //nolint:noctx // a short try
	if err != nil {
		<-time.After(20 * time.Millisecond)
		return false
	}
	_ = conn.Close()
	return true
}
