package compat

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestRsyslog_OverABrokersDeath takes lines from one rsyslog to another by omkafka, a topic and imkafka, with the files that
// configs/logging-pipeline offers, while the broker is killed with -9 and started again.
//
// Each line arrives, and those of one host in order. The topic holds what omkafka handed to its client library, to the record,
// and imkafka reads each record once. One thing is rsyslog's: a line in whose turn omkafka hears that the broker is away it
// has handed over already, and yet has rsyslog repeat it. So a few lines, one for each such turn, may have been handed over again.
func TestRsyslog_OverABrokersDeath(t *testing.T) {
	need(t, client{name: "rsyslog", missing: rsyslogMissing})
	const lines, hosts = 10_000, 3
	topic := newTopic(t, 3)
	dir := t.TempDir()
	received, stats, socket := filepath.Join(dir, "received"), filepath.Join(dir, "stats"), filepath.Join(dir, "in")

	receiver := rsyslogd(t, dir, "receive", pipelineFile(t, dir, "rsyslog-receive.conf",
		`"localhost:9092"`, `"`+theBroker.bootstrap+`"`, `topic="syslog"`, `topic="`+topic+`"`,
		`consumerGroup="rsyslog"`, `consumerGroup="`+topic+`"`, "/var/log/received.log", received))
	sender := rsyslogd(t, dir, "send", pipelineFile(t, dir, "rsyslog.conf",
		`"localhost:9092"`, `"`+theBroker.bootstrap+`"`, `topic="syslog"`, `topic="`+topic+`"`, "/var/spool/rsyslog", dir),
		`module(load="imptcp")`, `input(type="imptcp" path="`+socket+`")`,
		`module(load="impstats" interval="1" format="json" resetCounters="off" log.syslog="off" log.file="`+stats+`")`)

	var conn net.Conn
	poll(t, "rsyslog to listen", func() bool {
		var err error
		conn, err = net.Dial("unix", socket)
		return err == nil
	})
	defer quietly(conn)
	write := func(from, to int) {
		var b bytes.Buffer
		for i := from; i < to; i++ {
			fmt.Fprintf(&b, "<134>Nov 21 12:00:00 host%d app[%d]: %s\n", i%hosts, i, rsyslogText(i))
		}
		if _, err := conn.Write(b.Bytes()); err != nil {
			t.Fatal(err)
		}
	}
	write(0, lines/3)
	poll(t, "the first records", func() bool { return total(t, topic, 3) > 0 })
	killed := make(chan error, 1)
	go func() { killed <- theBroker.crashAndRestart(t.Context()) }()
	write(lines/3, 2*lines/3)
	if err := <-killed; errors.Is(err, errCannotCrash) {
		t.Log(err)
	} else if err != nil {
		t.Fatal(err)
	}
	write(2*lines/3, lines)

	poll(t, "imkafka to read the last lines", func() bool {
		text := contents(received)
		for i := lines - hosts; i < lines; i++ {
			if !bytes.Contains(text, []byte(rsyslogText(i)+"\n")) {
				return false
			}
		}
		return true
	})
	handed, stored := int64(0), total(t, topic, 3)
	poll(t, "omkafka to count what it has handed over", func() bool { handed = omkafkaSubmitted(stats); return handed >= stored })
	sender.stop()
	if end := total(t, topic, 3); end != stored || end != handed {
		t.Errorf("the topic holds %d records, %d before rsyslog ended, omkafka has handed over %d", end, stored, handed)
	}
	receiver.stop()

	seen, next, read := make([]int, lines), [hosts]int{0, 1, 2}, int64(0)
	for line := range strings.SplitSeq(strings.TrimSuffix(string(contents(received)), "\n"), "\n") {
		_, line, _ = strings.Cut(line, " ") // the time
		var i, host, again int
		if n, err := fmt.Sscanf(line, "host%d app[%d]: line %d", &host, &again, &i); n != 3 || err != nil || i >= lines {
			t.Fatalf("received %q: %v", line, err)
		}
		if want := fmt.Sprintf("host%d app[%d]: %s", i%hosts, i, rsyslogText(i)); line != want {
			t.Fatalf("received %q, want %q", line, want)
		}
		read++
		if seen[i]++; seen[i] == 1 && i != next[host] {
			t.Fatalf("received line %d of host %d, want %d", i, host, next[host])
		}
		if seen[i] == 1 {
			next[host] += hosts
		}
	}
	for host, i := range next {
		if i < lines {
			t.Errorf("line %d of host %d is missing", i, host)
		}
	}
	t.Logf("%d lines logged, %d handed over by omkafka, %d stored, %d read", lines, handed, stored, read)
	if read != stored || stored > lines+20 {
		t.Errorf("%d lines were read, %d stored", read, stored)
	}
}

// rsyslogText is what the line says; it has what templates like to spoil.
func rsyslogText(i int) string { return fmt.Sprintf(`line %05d "quoted" {json: [é]} %%MSG%%`, i) }

func total(t *testing.T, topic string, partitions int32) int64 {
	t.Helper()
	sum := int64(0)
	for _, end := range endOffsets(t, topic, partitions) {
		sum += end
	}
	return sum
}

// contents returns what the file holds so far.
func contents(path string) []byte {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	return text
}

func rsyslogMissing() string {
	const hint = installHint + ", or apt-get install rsyslog rsyslog-kafka"
	if _, err := exec.LookPath("rsyslogd"); err != nil {
		return hint
	}
	if found, err := filepath.Glob("/usr/lib*/*/rsyslog/omkafka.so"); err != nil || len(found) == 0 {
		if found, err = filepath.Glob("/usr/lib*/rsyslog/omkafka.so"); err != nil || len(found) == 0 {
			return hint
		}
	}
	return ""
}

// pipelineFile copies a file of configs/logging-pipeline with other parameters, given as pairs, and returns its path.
func pipelineFile(t *testing.T, dir, name string, pairs ...string) string {
	t.Helper()
	repo, err := repository()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(repo, "configs", "logging-pipeline", name))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(pairs); i += 2 {
		if !bytes.Contains(text, []byte(pairs[i])) {
			t.Fatalf("%s does not say %s any more", name, pairs[i])
		}
	}
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(strings.NewReplacer(pairs...).Replace(string(text))), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// daemon is a running program that is stopped by SIGTERM.
type daemon struct {
	t   *testing.T
	cmd *exec.Cmd
}

// rsyslogd starts a rsyslog of its own, with a directory of its own, that knows nothing of this machine's.
func rsyslogd(t *testing.T, dir, name, include string, more ...string) *daemon {
	t.Helper()
	main := filepath.Join(dir, name+".main")
	text := fmt.Sprintf("global(workDirectory=%q)\n%s\ninclude(file=%q)\n", dir, strings.Join(more, "\n"), include)
	if err := os.WriteFile(main, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	program(t, nil, "rsyslogd", "-N1", "-f", main)
	cmd := exec.Command("rsyslogd", "-n", "-f", main, "-i", filepath.Join(dir, name+".pid"))
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	d := &daemon{t, cmd}
	t.Cleanup(func() {
		d.stop()
		if t.Failed() {
			t.Logf("rsyslogd %s says:\n%s", name, said.Bytes())
		}
	})
	return d
}

// stop ends the program; it has callTimeout to do what is left.
func (d *daemon) stop() {
	d.t.Helper()
	if d.cmd == nil {
		return
	}
	cmd := d.cmd
	d.cmd = nil
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		d.t.Error(err)
	}
	late := time.AfterFunc(callTimeout, func() { _ = cmd.Process.Kill() })
	defer late.Stop()
	if err := cmd.Wait(); err != nil {
		d.t.Errorf("%s: %v", cmd.Path, err)
	}
}

// omkafkaSubmitted is how many lines omkafka says to have handed to its client library, as impstats has written it last.
func omkafkaSubmitted(path string) (submitted int64) {
	for line := range bytes.SplitSeq(contents(path), []byte("\n")) {
		var s struct {
			Name      string
			Submitted int64
		}
		if _, object, found := bytes.Cut(line, []byte("{")); found && json.Unmarshal(append([]byte("{"), object...), &s) == nil && s.Name == "omkafka" {
			submitted = s.Submitted
		}
	}
	return submitted
}
