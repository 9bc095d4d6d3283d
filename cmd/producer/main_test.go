package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"reflect"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/stelemq/stele/client/clienttest"
	"github.com/stelemq/stele/internal/cli"
	"github.com/stelemq/stele/internal/ptytest"
)

// safeBuffer is a buffer that the program writes while the test reads.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p) //nolint:wrapcheck // cannot fail
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// try runs the program and returns its exit code and everything it said, the
// times in it replaced.
func try(t *testing.T, stdin io.Reader, args ...string) (int, string) {
	t.Helper()
	var out, talk safeBuffer
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	err := run(ctx, args, stdin, &out, &talk)
	cli.PrintError(&talk, err)
	if out.String() != "" && !strings.Contains(strings.Join(args, " "), "help") {
		t.Errorf("stdout is for data: %q", out.String())
	}
	return cli.ExitCode(err), regexp.MustCompile(` in [0-9.]+m?s,`).ReplaceAllString(talk.String(), " in T,")
}

func TestProducer_Lines(t *testing.T) {
	f := clienttest.New(t, 1)
	f.AutoCreate(1)
	for _, row := range []struct {
		name, in string
		want     []string
		talk     string
	}{
		{"one", "hello\n", []string{"hello"}, "produced 1 record to one (5 B) in T, 0 errors\n"},
		{"unfinished", "a\nb", []string{"a", "b"}, "produced 2 records to unfinished (2 B) in T, 0 errors\n"},
		{"byte-for-byte", "a\r\n\n\xff\x00\n", []string{"a\r", "", "\xff\x00"}, "produced 3 records to byte-for-byte (4 B) in T, 0 errors\n"},
		{"nothing", "", nil, "produced 0 records to nothing (0 B) in T, 0 errors\n"},
		{"long", strings.Repeat("x", 3<<20) + "\ny\n", []string{strings.Repeat("x", 3<<20), "y"}, "produced 2 records to long (3.0 MiB) in T, 0 errors\n"},
	} {
		code, talk := try(t, strings.NewReader(row.in), "-b", f.Addr(), "-t", row.name)
		if code != 0 || talk != row.talk {
			t.Errorf("%s: %d %s", row.name, code, talk)
		}
		if got := f.Values(t, row.name, 0); !reflect.DeepEqual(got, row.want) {
			t.Errorf("%s: stored %.100q", row.name, got)
		}
	}
}

func TestProducer_ManyLinesInAllCodecs(t *testing.T) {
	f := clienttest.New(t, 1)
	var in strings.Builder
	var want []string
	for i := range 20_000 {
		line := fmt.Sprintf("line %d of the log", i)
		want = append(want, line)
		in.WriteString(line + "\n")
	}
	for _, codec := range []string{"none", "gzip", "snappy", "lz4", "zstd"} {
		f.CreateTopic(codec, 1)
		code, talk := try(t, strings.NewReader(in.String()), "-b", f.Addr(), "-t", codec, "-z", codec, "--batch-bytes", "32KiB")
		if code != 0 || !strings.HasPrefix(talk, "produced 20 000 records to "+codec) {
			t.Errorf("%d %s", code, talk)
		}
		if got := f.Values(t, codec, 0); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %d records, not the lines", codec, len(got))
		}
		if got := f.Batches(codec, 0)[0].Attributes().Codec().String(); got != codec {
			t.Errorf("%s: stored as %s", codec, got)
		}
	}
}

func TestProducer_SingleRecord(t *testing.T) {
	f := clienttest.New(t, 1)
	f.CreateTopic("t", 1)
	for _, args := range [][]string{
		{"-k", "user1", "-H", "trace=abc", "-H", "n=", "-m", "hello"},
		{"-k", "user1", "-Z"},
		{"-m", ""},
	} {
		if code, talk := try(t, nil, append([]string{"-b", f.Addr(), "-t", "t"}, args...)...); code != 0 {
			t.Errorf("%v: %d %s", args, code, talk)
		}
	}
	var got []string
	for _, b := range f.Batches("t", 0) {
		for r, err := range b.Records(1 << 20) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, fmt.Sprintf("%q=%q null=%v headers=%d", r.Key, r.Value, r.Value == nil, len(r.Headers)))
		}
	}
	want := []string{`"user1"="hello" null=false headers=2`, `"user1"="" null=true headers=0`, `""="" null=false headers=0`}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("stored %q", got)
	}
}

func TestProducer_Formats(t *testing.T) {
	f := clienttest.New(t, 1)
	f.CreateTopic("t", 3)
	code, talk := try(t, strings.NewReader("k1\tv1\nk2\tv\\n2\n"), "-b", f.Addr(), "-t", "t", "-p", "1", "-f", `%k\t%v\n`)
	if code != 0 {
		t.Fatal(talk)
	}
	code, talk = try(t, strings.NewReader(`{"key":"k","value":"v","headers":{"a":"b"},"partition":2,"timestamp":1767323045000}`+"\n\n"+
		`{"key_base64":"/w==","value":null,"partition":2}`+"\n"), "-b", f.Addr(), "-t", "t", "--json")
	if code != 0 {
		t.Fatal(talk)
	}
	if got := f.Values(t, "t", 1); !reflect.DeepEqual(got, []string{"v1", `v\n2`}) {
		t.Errorf("-f: %q", got)
	}
	if got := f.Values(t, "t", 2); !reflect.DeepEqual(got, []string{"v", ""}) {
		t.Errorf("--json: %q", got)
	}
	code, talk = try(t, strings.NewReader("{\n"), "-b", f.Addr(), "-t", "t", "--json")
	if code != 1 || !strings.Contains(talk, "line 1: not a record in JSON") {
		t.Errorf("%d %s", code, talk)
	}
}

func TestProducer_ExitCodesAndWords(t *testing.T) {
	f := clienttest.New(t, 1)
	f.CreateTopic("logs", 2)
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := l.Addr().String()
	_ = l.Close()
	for _, row := range []struct {
		args string
		code int
		talk string
	}{
		{"", 2, "which topic? Name it with -t\nSee --help.\n"},
		{"-t t extra", 2, "unexpected argument \"extra\"\nSee --help.\n"},
		{"-t t --nope", 2, "unknown flag: --nope\nSee --help.\n"},
		{"-t t -z brotli", 2, "-z brotli: want none, gzip, snappy, lz4 or zstd\nSee --help.\n"},
		{"-t t --acks 2", 2, "--acks 2: want all, 1 or 0\nSee --help.\n"},
		{"-t t --rate fast", 2, "--rate: \"fast\" is not a rate; write it as 500/s or 30/m\nSee --help.\n"},
		{"-t t --batch-bytes lots", 2, "--batch-bytes lots: want a size from 1 to 512MiB\nSee --help.\n"},
		{"-t t -H x", 2, "header \"x\": write it as name=value\nSee --help.\n"},
		{"-t t -Z", 2, "-Z needs a key (-k): a tombstone deletes one\nSee --help.\n"},
		{"-t t -f %q", 2, "reading: format has no verb %q\nSee --help.\n"},
		{"-b " + closed + " -t t", 1, "cannot reach " + closed + " (connection refused). Is the broker running? Start one with: broker\n"},
		{"--bootstrap-server " + closed + " -t t", 1, "cannot reach " + closed + " (connection refused). Is the broker running? Start one with: broker\n"},
		{"-b " + f.Addr() + " -t logz --timeout 300ms", 1, "topic \"logz\" does not exist. Did you mean \"logs\"? (create: broker topic create logz)\n"},
		{"-b " + f.Addr() + " -t logs -p 5 -m x", 1, "topic \"logs\" has no partition 5: it has 2, from 0"},
	} {
		args := strings.Fields(row.args)
		if strings.Contains(row.args, "%q") {
			args = append(args, "-b", f.Addr(), "-t", "logs")
		}
		code, talk := try(t, strings.NewReader(""), args...)
		if code != row.code || !strings.Contains(talk, row.talk) {
			t.Errorf("%s: exit %d, says %q", row.args, code, talk)
		}
	}
}

func TestProducer_RecordsNotAcknowledged(t *testing.T) {
	f := clienttest.New(t, 1)
	f.CreateTopic("t", 1)
	f.Intercept(func(_ int32, req kmsg.Request) (clienttest.Action, kmsg.Response) {
		if _, ok := req.(*kmsg.ProduceRequest); ok {
			return clienttest.Hang, nil
		}
		return clienttest.Pass, nil
	})
	began := time.Now()
	code, talk := try(t, strings.NewReader("a\nb\n"), "-b", f.Addr(), "-t", "t", "--timeout", "500ms")
	if code != 1 || !strings.Contains(talk, "not acknowledged within 500ms") || !strings.Contains(talk, "produced 0 records") ||
		!strings.Contains(talk, "2 errors") {
		t.Errorf("exit %d, says %s", code, talk)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("took %v", took)
	}
}

func TestProducer_Interrupted(t *testing.T) {
	f := clienttest.New(t, 1)
	f.CreateTopic("t", 1)
	in, feed := io.Pipe()
	defer feed.Close() //nolint:errcheck // the end of the test
	ctx, interrupt := context.WithCancel(t.Context())
	var talk safeBuffer
	ended := make(chan error, 1)
	go func() {
		ended <- run(ctx, []string{"-b", f.Addr(), "-t", "t", "--linger", "1h"}, in, io.Discard, &talk)
	}()
	if _, err := feed.Write([]byte("a\nb\n")); err != nil {
		t.Fatal(err)
	}
	if _, err := feed.Write([]byte("c")); err != nil { // the lines before it have been read
		t.Fatal(err)
	}
	interrupt()
	select {
	case err := <-ended:
		if !errors.Is(err, cli.ErrInterrupted) || cli.ExitCode(err) != 130 {
			t.Errorf("got %v", err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("it goes on")
	}
	stored := len(f.Values(t, "t", 0))
	if want := fmt.Sprintf("interrupted: produced %s to t", cli.Plural(int64(stored), "record")); !strings.Contains(talk.String(), want) {
		t.Errorf("stored %d, said %q", stored, talk.String())
	}
}

func TestProducer_OnATerminal(t *testing.T) {
	f := clienttest.New(t, 1)
	f.CreateTopic("t", 1)
	term := ptytest.Open(t)
	ended := make(chan error, 1)
	go func() {
		ended <- run(t.Context(), []string{"-b", f.Addr(), "-t", "t"}, term.File, term.File, term.File)
	}()
	term.Await(t, "type messages, Ctrl-D to finish\n> ")
	term.Type(t, "hello\n")
	term.Await(t, "partition 0 offset 0\n> ")
	term.Type(t, "again\n")
	term.Await(t, "partition 0 offset 1\n> ")
	term.Type(t, "\x04")
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if got := f.Values(t, "t", 0); !reflect.DeepEqual(got, []string{"hello", "again"}) {
		t.Errorf("stored %q", got)
	}
	term.Await(t, "produced 2 records to t (10 B)")
}

func TestProducer_Rate(t *testing.T) {
	f := clienttest.New(t, 1)
	f.CreateTopic("t", 1)
	began := time.Now()
	if code, talk := try(t, strings.NewReader(strings.Repeat("x\n", 11)), "-b", f.Addr(), "-t", "t", "--rate", "50/s"); code != 0 {
		t.Fatal(talk)
	}
	if took := time.Since(began); took < 190*time.Millisecond {
		t.Errorf("11 records at 50/s took %v", took)
	}
}

func TestProducer_HelpLeadsWithExamples(t *testing.T) {
	var out bytes.Buffer
	if err := run(t.Context(), []string{"--help"}, nil, &out, io.Discard); err != nil {
		t.Fatal(err)
	}
	text := out.String()
	if strings.Index(text, "producer -t logs < access.log") > strings.Index(text, "Flags:") || strings.Contains(text, "broker-list") ||
		strings.Count(text, "\n") > 40 {
		t.Errorf("help:\n%s", text)
	}
}

func TestProducer_PartitionWithoutLeader(t *testing.T) {
	f := clienttest.New(t, 1)
	f.CreateTopic("events", 2)
	f.MoveLeader("events", 1, -1)
	code, talk := try(t, strings.NewReader("a\n"), "-b", f.Addr(), "-t", "events", "--timeout", "500ms")
	if code != 0 || !strings.Contains(talk, "events-1 has no leader: 0 of 1 replicas reachable, 1 needed; writing to the others\n") ||
		len(f.Values(t, "events", 0)) != 1 {
		t.Errorf("exit %d, says %s", code, talk)
	}
	f.MoveLeader("events", 0, -1)
	code, talk = try(t, strings.NewReader("a\n"), "-b", f.Addr(), "-t", "events", "--timeout", "500ms")
	if code != 1 || talk != "events-0 has no leader: 0 of 1 replicas reachable, 1 needed\n" {
		t.Errorf("exit %d, says %s", code, talk)
	}
}
