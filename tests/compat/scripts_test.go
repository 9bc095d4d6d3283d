package compat

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
)

// pythonClient is confluent-kafka or kafka-python, from the virtual environment that install.sh makes.
func pythonClient(library string) client {
	return client{
		name: library, codecs: codecs,
		shape:   shape{noNullHeaders: library == "kafka-python"},
		missing: missingFile(pythonPath()),
		produce: func(t *testing.T, topic, codec string, recs []record) {
			t.Helper()
			program(t, jsonLines(t, recs), pythonPath(), pythonArgs(library, "produce", topic, codec)...)
		},
		consume: func(t *testing.T, topics []want) map[string][]record {
			t.Helper()
			wanted, err := json.Marshal(topics)
			if err != nil {
				t.Fatal(err)
			}
			return parseLines(t, program(t, nil, pythonPath(), pythonArgs(library, "consume", string(wanted))...))
		},
	}
}

func pythonPath() string { return cache("compat", "venv", "bin", "python") }

func pythonArgs(library, action string, args ...string) []string {
	return append([]string{"clients/python/run.py", library, action, theBroker.bootstrap}, args...)
}

// python runs one action of run.py and returns the line it prints.
func python(t *testing.T, library, action string, args ...string) string {
	t.Helper()
	return strings.TrimSpace(string(program(t, nil, pythonPath(), pythonArgs(library, action, args...)...)))
}

func kafkajsClient() client {
	modules := cache("compat", "kafkajs", "node_modules")
	return client{
		name: "kafkajs", codecs: codecs,
		shape: shape{noNullHeaders: true},
		missing: func() string {
			if _, err := exec.LookPath("node"); err != nil {
				return "install Node.js 18 or newer, then " + installHint
			}
			return missingFile(modules)()
		},
		produce: func(t *testing.T, topic, codec string, recs []record) {
			t.Helper()
			// `env` sets the variable for this program alone: other tests run beside this one.
			program(t, jsonLines(t, recs), "env", "NODE_PATH="+modules, "node", "clients/kafkajs/produce.js", theBroker.bootstrap, topic, codec)
		},
	}
}

func jsonLines(t *testing.T, recs []record) *bytes.Buffer {
	t.Helper()
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	for _, r := range recs {
		if err := enc.Encode(r); err != nil {
			t.Fatal(err)
		}
	}
	return &b
}

func parseLines(t *testing.T, out []byte) map[string][]record {
	t.Helper()
	got := map[string][]record{}
	dec := json.NewDecoder(bytes.NewReader(out))
	for dec.More() {
		var r struct {
			Topic string `json:"topic"`
			record
		}
		if err := dec.Decode(&r); err != nil {
			t.Fatal(err)
		}
		got[r.Topic] = append(got[r.Topic], r.record)
	}
	return got
}

func TestPython_FindsOffsetsByTime(t *testing.T) {
	topic := newTopic(t, 1)
	recs := generate(shape{}, 100, 8)
	franzProduce(t, topic, "zstd", recs)
	for _, library := range []string{"confluent-kafka", "kafka-python"} {
		t.Run(library, func(t *testing.T) {
			need(t, pythonClient(library))
			for _, row := range []struct{ millis, offset int64 }{
				{recs[0].Timestamp - 1, 0}, {recs[63].Timestamp, 63}, {recs[63].Timestamp + 1, 64}, {recs[99].Timestamp, 99},
			} {
				got := python(t, library, "offset", topic, strconv.FormatInt(row.millis, 10))
				if got != strconv.FormatInt(row.offset, 10) {
					t.Errorf("offset for time %d is %s, want %d", row.millis, got, row.offset)
				}
			}
		})
	}
}

// TestRealLog_ComesBackByteForByte pipes a log file of this machine in with one program and reads it back with
// others.
func TestRealLog_ComesBackByteForByte(t *testing.T) {
	path, text := realLog(t)
	lines := bytes.Count(text, []byte("\n"))
	t.Logf("%s: %d bytes, %d lines", path, len(text), lines)
	for _, row := range []struct {
		codec string
		size  string // of a batch
	}{{"none", "1000"}, {"zstd", "100000"}} {
		t.Run(row.codec, func(t *testing.T) {
			need(t, kcatClient())
			topic := newTopic(t, 1)
			kcat(t, text, "-P", "-t", topic, "-p", "0", "-X", "compression.codec="+row.codec, "-X", "batch.size="+row.size)
			back := kcat(t, nil, "-C", "-t", topic, "-p", "0", "-o", "beginning", "-c", strconv.Itoa(lines), "-f", `%s\n`)
			if !bytes.Equal(back, text) {
				t.Fatalf("kcat reads %d bytes that differ from the %d written", len(back), len(text))
			}
			for name, read := range map[string]func(*testing.T, []want) map[string][]record{
				"franz-go": franzConsume, "kafka-go": kafkaGoConsume,
			} {
				var again bytes.Buffer
				for _, r := range read(t, []want{{topic, lines}})[topic] {
					again.Write(r.Value)
					again.WriteByte('\n')
				}
				if !bytes.Equal(again.Bytes(), text) {
					t.Fatalf("%s reads %d bytes that differ from the %d written", name, again.Len(), len(text))
				}
			}
		})
	}
}

// realLog returns a log file of this machine with no empty line, ending in a newline.
func realLog(t *testing.T) (path string, text []byte) {
	t.Helper()
	for _, path := range []string{"/var/log/dpkg.log", "/var/log/syslog", "/var/log/messages", "/var/log/alternatives.log", "/var/log/dnf.log"} {
		text, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		text = text[:bytes.LastIndexByte(text, '\n')+1]
		if len(text) > 1000 && !bytes.Contains(text, []byte("\n\n")) {
			return path, text
		}
	}
	t.Skip("no readable log file in /var/log")
	return "", nil
}
