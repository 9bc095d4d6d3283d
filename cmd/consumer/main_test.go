package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stelemq/stele/client"
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

// try runs the program and returns its exit code, its data and its talk.
func try(t *testing.T, args ...string) (code int, out, talk string) {
	t.Helper()
	var o, e safeBuffer
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	err := run(ctx, args, nil, &o, &e)
	cli.PrintError(&e, err)
	return cli.ExitCode(err), o.String(), e.String()
}

// fill produces records, each a batch of its own, at 1000 ms and on.
func fill(t *testing.T, f *clienttest.Cluster, records ...client.Record) {
	t.Helper()
	c, err := client.New(client.Options{Bootstrap: []string{f.Addr()}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close() //nolint:errcheck // nothing is left
	p, err := c.NewProducer(client.ProducerOptions{Partitioner: client.ByRecord, BatchBytes: 1, Linger: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close(t.Context()) //nolint:errcheck // nothing is left
	for i := range records {
		r := records[i]
		r.Timestamp = time.UnixMilli(int64(1000 + i))
		if _, err := p.ProduceSync(t.Context(), &r); err != nil {
			t.Fatal(err)
		}
	}
}

func values(topic string, n int) []client.Record {
	var out []client.Record
	for i := range n {
		out = append(out, client.Record{Topic: topic, Value: fmt.Append(nil, i)})
	}
	return out
}

func TestConsumer_Formats(t *testing.T) {
	f := clienttest.New(t, 1)
	f.CreateTopic("t", 2)
	fill(t, f,
		client.Record{Topic: "t", Partition: 1, Key: []byte("k"), Value: []byte("v\xff"), Headers: []client.Header{{Key: "a", Value: []byte("1")}, {Key: "b"}}},
		client.Record{Topic: "t", Partition: 1, Value: nil})
	for _, row := range []struct{ format, want string }{
		{"value", "v\xff\n\n"},
		{"raw", "v\xff"},
		{`%t %p %o %e\n`, "t 1 0 7\nt 1 1 7\n"},
		{`%k=%v %K/%V %s %S|`, "k=v\xff 1/2 v\xff 2|= 0/0  0|"},
		{`%T{ms} %d %i %]\n`, "1000 1000 1 2\n1001 1001 2 2\n"},
		{`%d{go[05.000]} %d{strftime[%S]}\n`, "01.000 01\n01.001 01\n"},
		{`%h %H%%\n`, "a=1,b= 2%\n 0%\n"},
		{`%h{<%k:%v>}\x21\n`, "<a:1><b:>!\n!\n"},
		{`%v{hex} %v{base64} %k{json}\t`, "76ff dv8= \"k\"\t  null\t"},
		{"json", `{"topic":"t","partition":1,"offset":0,"timestamp":1000,"key":"k","value":null,"value_base64":"dv8=","headers":[{"key":"a","value":"1"},{"key":"b","value":null}]}
{"topic":"t","partition":1,"offset":1,"timestamp":1001,"key":null,"value":null}
`},
	} {
		code, out, talk := try(t, "-b", f.Addr(), "-t", "t", "-o", "start", "-e", "-f", row.format)
		if code != 0 || out != row.want || talk != "" {
			t.Errorf("%s: exit %d, %q, says %q", row.format, code, out, talk)
		}
	}
	_, out, _ := try(t, "-b", f.Addr(), "-t", "t", "-o", "start", "-n", "1", "-f", "pretty")
	if !strings.HasPrefix(out, "t-1 @ 0  ") || !strings.Contains(out, "  header a = 1\n  header b = null\n  key    k\n  value  v\xff  (2 bytes)\n") {
		t.Errorf("pretty: %q", out)
	}
}

func TestConsumer_Offsets(t *testing.T) {
	f := clienttest.New(t, 1)
	f.CreateTopic("t", 1)
	fill(t, f, values("t", 20)...)
	for _, row := range []struct{ args, want string }{
		{"--from-beginning -n 3", "0 1 2"},
		{"-o start -n 1", "0"},
		{"-o beginning -n 1", "0"},
		{"-o earliest -n 1", "0"},
		{"-o 17 -e", "17 18 19"},
		{"-o +18 -e", "18 19"},
		{"-o -2 --exit-eof", "18 19"},
		{"-o end -e", ""},
		{"-e", ""},
		{"-o :end -p 0 -n 2", "0 1"},
		{"-o 3:5", "3 4"},
		{"-o -2:end", "18 19"},
		{"-o @1970-01-01T00:00:01.018Z -e", "18 19"},
		{"-o @1970-01-01T00:00:01.003Z:1970-01-01T00:00:01.005Z", "3 4"},
		{"-o @-1h -e", ""},
		{"-o start -e --grep v:^1[0-3]$", "10 11 12 13"},
		{"-o start -n 2 --grep 9", "9 19"},
	} {
		code, out, talk := try(t, append([]string{"-b", f.Addr(), "-t", "t"}, strings.Fields(row.args)...)...)
		if got := strings.Join(strings.Fields(out), " "); code != 0 || got != row.want || talk != "" {
			t.Errorf("%s: exit %d, %q, says %q", row.args, code, got, talk)
		}
	}
}

func TestConsumer_SeveralTopics(t *testing.T) {
	f := clienttest.New(t, 2)
	for _, name := range []string{"app-a", "app-b", "other"} {
		f.CreateTopic(name, 1)
		fill(t, f, values(name, 1)...)
	}
	for _, args := range [][]string{{"-t", "app-a", "-t", "app-b"}, {"-t", "app-a,app-b"}, {"-r", "-t", "app-.*"}} {
		code, out, talk := try(t, append([]string{"-b", f.Addr(), "-o", "start", "-e"}, args...)...)
		if code != 0 || !strings.Contains(out, "app-a\t0\n") || !strings.Contains(out, "app-b\t0\n") || strings.Contains(out, "other") {
			t.Errorf("%v: exit %d, %q, says %q", args, code, out, talk)
		}
	}
}

func TestConsumer_ExitCodesAndWords(t *testing.T) {
	f := clienttest.New(t, 1)
	f.CreateTopic("logs", 1)
	for _, row := range []struct {
		args string
		code int
		talk string
	}{
		{"", 2, "which topic? Name it with -t\nSee --help.\n"},
		{"-t t -o yesterday", 2, "-o yesterday: want start, end, 42, +5, -10, @-1h, @2026-01-02T03:04:05Z, or a range FROM:TO\nSee --help.\n"},
		{"-t t -f nothing", 2, "-f nothing: want value, raw, json, pretty, or a text with verbs such as '%k %v\\n'\nSee --help.\n"},
		{"-t t -f %z", 2, "-f: format has no verb %z\nSee --help.\n"},
		{"-t t --grep v:(", 2, "--grep v:("},
		{"-t t -n 0", 2, "-n 0: want at least 1\nSee --help.\n"},
		{"-t t --from-beginning -o end", 2, "--from-beginning and -o exclude each other\nSee --help.\n"},
		{"-t logz", 1, "topic \"logz\" does not exist. Did you mean \"logs\"? (create: broker topic create logz)\n"},
		{"-t zebra", 1, "topic \"zebra\" does not exist. Create it with: broker topic create zebra\n"},
		{"-t logs -p 4", 1, "topic \"logs\" has no partition 4: it has 1, from 0\n"},
		{"-r -t x.*", 1, "no topic matches [x.*]\n"},
	} {
		began := time.Now()
		code, out, talk := try(t, append([]string{"-b", f.Addr()}, strings.Fields(row.args)...)...)
		if code != row.code || !strings.HasPrefix(talk, row.talk) || out != "" {
			t.Errorf("%s: exit %d, %q, says %q", row.args, code, out, talk)
		}
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("%s took %v", row.args, took)
		}
	}
}

func TestConsumer_WaitsForTheTopic(t *testing.T) {
	f := clienttest.New(t, 1)
	var talk, out safeBuffer
	ended := make(chan error, 1)
	go func() {
		ended <- run(t.Context(), []string{"-b", f.Addr(), "-t", "late", "--wait", "-o", "start", "-n", "1"}, nil, &out, &talk)
	}()
	deadline := time.Now().Add(10 * time.Second)
	for !strings.Contains(talk.String(), `waiting for topic "late"`) {
		if time.Now().After(deadline) {
			t.Fatal("it does not say that it waits")
		}
	}
	f.CreateTopic("late", 1)
	fill(t, f, values("late", 1)...)
	if err := <-ended; err != nil || out.String() != "0\n" {
		t.Fatalf("%v, %q", err, out.String())
	}
}

func TestConsumer_Interrupted(t *testing.T) {
	f := clienttest.New(t, 1)
	f.CreateTopic("t", 1)
	fill(t, f, values("t", 3)...)
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	var out, talk safeBuffer
	ended := make(chan error, 1)
	go func() {
		ended <- run(ctx, []string{"-b", f.Addr(), "-t", "t", "-o", "start", "--stats"}, nil, &out, &talk)
	}()
	deadline := time.Now().Add(10 * time.Second)
	for out.String() != "0\n1\n2\n" || !strings.Contains(talk.String(), "lag 0  total 3\n") {
		if time.Now().After(deadline) {
			t.Fatalf("out %q, talk %q", out.String(), talk.String())
		}
		<-time.After(5 * time.Millisecond)
	}
	interrupt()
	if err := <-ended; !errors.Is(err, cli.ErrInterrupted) {
		t.Fatalf("got %v", err)
	}
}

func TestConsumer_TerminalIsSafeFromPayloads(t *testing.T) {
	f := clienttest.New(t, 1)
	f.CreateTopic("t", 1)
	evil := "\x1b]0;owned\x07 \x9b1m caf\u00e9 \u009b2J\ttab"
	fill(t, f, client.Record{Topic: "t", Value: []byte(evil)})
	term := ptytest.Open(t)
	args := []string{"-b", f.Addr(), "-t", "t", "-o", "start", "-n", "1"}
	if err := run(t.Context(), args, nil, term.File, io.Discard); err != nil {
		t.Fatal(err)
	}
	term.Await(t, `\x1b]0;owned\x07 \x9b1m café \xc2\x9b2J`+"\ttab\n")
	if _, out, _ := try(t, args...); out != evil+"\n" {
		t.Errorf("into a pipe: %q", out)
	}
}

func TestParseRange(t *testing.T) {
	now := time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)
	for give, want := range map[string]string{
		"start": "start", "end": "end", "latest": "end", "42": "42", "+5": "+5", "-10": "-10",
		"@-1h": "@2026-01-02T11:00:00Z", "@1d": "@2026-01-01T12:00:00Z", "@1767323045000": "@2026-01-02T03:04:05Z", "@1767323045": "@2026-01-02T03:04:05Z",
		"@2026-01-02T03:04:05Z": "@2026-01-02T03:04:05Z",
		"@-2h:-1h":              "@2026-01-02T10:00:00Z > @2026-01-02T11:00:00Z",
		"@-2h:end":              "@2026-01-02T10:00:00Z > end",
		"@2026-01-02T03:04:05Z:2026-01-02T04:00:00Z": "@2026-01-02T03:04:05Z > @2026-01-02T04:00:00Z",
		":end": "start > end", "10:20": "10 > 20", ":": "", "x": "", "": "", "10:": "", "@": "", "--1": "", "@1x": "",
	} {
		from, to, err := parseRange(give, now)
		got := from.String()
		if to != nil {
			got += " > " + to.String()
		}
		if err != nil {
			got = ""
		}
		if got != want {
			t.Errorf("%q: %q, want %q", give, got, want)
		}
	}
}
