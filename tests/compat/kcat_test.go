package compat

import (
	"bytes"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"testing"
)

func kcatClient() client {
	return client{
		name: "kcat", codecs: codecs,
		// kcat gives all records of one run the same headers, and -Z makes what is empty null.
		shape:   shape{emptyIsNull: true, oneHeaderSet: true, noNullHeaders: true, noTimestamps: true},
		missing: missingProgram("kcat", installHint+", or apt-get install kcat"),
		produce: kcatProduce, consume: kcatConsume,
	}
}

// missingProgram returns the missing function of a client that is a program in the PATH.
func missingProgram(name, hint string) func() string {
	return func() string {
		if _, err := exec.LookPath(name); err != nil {
			return hint
		}
		return ""
	}
}

func kcat(t *testing.T, stdin []byte, args ...string) []byte {
	t.Helper()
	return program(t, bytes.NewReader(stdin), "kcat", append([]string{"-b", theBroker.bootstrap, "-q"}, args...)...)
}

// kcatProduce writes records that are separated by 0x1e, with the key before 0x1f.
func kcatProduce(t *testing.T, topic, codec string, recs []record) {
	t.Helper()
	var in bytes.Buffer
	for _, r := range recs {
		in.Write(r.Key)
		in.WriteByte(0x1f)
		in.Write(r.Value)
		in.WriteByte(0x1e)
	}
	args := []string{"-P", "-t", topic, "-p", "0", "-D", `\x1e`, "-K", `\x1f`, "-Z", "-X", "compression.codec=" + codec, "-X", "enable.idempotence=true"}
	for _, h := range recs[0].Headers {
		args = append(args, "-H", h.Key+"="+string(h.Value))
	}
	kcat(t, in.Bytes(), args...)
}

// kcatFormat prints lengths first, so that any bytes can follow.
const kcatFormat = `%o %T %K %S %k%s%h\x1e`

func kcatConsume(t *testing.T, topics []want) map[string][]record {
	t.Helper()
	got := map[string][]record{}
	for _, w := range topics {
		got[w.Topic] = kcatRead(t, w.Topic, "-o", "beginning", "-c", strconv.Itoa(w.Count))
	}
	return got
}

func kcatRead(t *testing.T, topic string, args ...string) []record {
	t.Helper()
	out := kcat(t, nil, append([]string{"-C", "-t", topic, "-p", "0", "-f", kcatFormat, "-X", "fetch.wait.max.ms=200"}, args...)...)
	var recs []record
	for len(out) > 0 {
		r, rest, err := parseKcat(out)
		if err != nil {
			t.Fatalf("record %d of kcat's output: %v", len(recs), err)
		}
		recs, out = append(recs, r), rest
	}
	return recs
}

func parseKcat(out []byte) (r record, rest []byte, err error) {
	fields := bytes.SplitN(out, []byte(" "), 5)
	if len(fields) < 5 {
		return r, nil, fmt.Errorf("short: %q", out[:min(len(out), 80)])
	}
	var n [4]int64
	for i := range n {
		if n[i], err = strconv.ParseInt(string(fields[i]), 10, 64); err != nil {
			return r, nil, err
		}
	}
	r.Offset, r.Timestamp = n[0], n[1]
	rest = fields[4]
	for _, f := range []struct {
		to  *[]byte
		len int64
	}{{&r.Key, n[2]}, {&r.Value, n[3]}} {
		if f.len < 0 {
			continue
		}
		if f.len > int64(len(rest)) {
			return r, nil, fmt.Errorf("offset %d: %d bytes announced, %d there", r.Offset, f.len, len(rest))
		}
		*f.to, rest = append([]byte{}, rest[:f.len]...), rest[f.len:]
	}
	headers, rest, found := bytes.Cut(rest, []byte{0x1e})
	if !found {
		return r, nil, fmt.Errorf("offset %d: no end", r.Offset)
	}
	if len(headers) > 0 {
		for h := range strings.SplitSeq(string(headers), ",") {
			k, v, _ := strings.Cut(h, "=")
			r.Headers = append(r.Headers, header{k, nullIf(v, "NULL")})
		}
	}
	return r, rest, nil
}

// nullIf returns null for the marker, else the text as bytes.
func nullIf(text, marker string) []byte {
	if text == marker {
		return nil
	}
	return []byte(text)
}

func TestKcat_ListsBrokersAndTopics(t *testing.T) {
	need(t, kcatClient())
	topic := newTopic(t, 3)
	out := string(kcat(t, nil, "-L", "-t", topic))
	for _, want := range []string{"1 brokers:", " at " + theBroker.bootstrap, fmt.Sprintf("topic %q with 3 partitions", topic), "partition 2, leader 1, replicas: 1, isrs: 1"} {
		if !strings.Contains(out, want) {
			t.Errorf("kcat -L lacks %q:\n%s", want, out)
		}
	}
	if all := string(kcat(t, nil, "-L")); !strings.Contains(all, fmt.Sprintf("topic %q", topic)) {
		t.Errorf("kcat -L of all topics lacks %s:\n%s", topic, all)
	}
}

func TestKcat_ReadsFromOffsetsAndTimes(t *testing.T) {
	need(t, kcatClient())
	topic := newTopic(t, 1)
	recs := generate(shape{}, 100, 6)
	franzProduce(t, topic, "gzip", recs)
	at := func(i int) string { return "s@" + strconv.FormatInt(recs[i].Timestamp, 10) }
	until := func(i int) string { return "e@" + strconv.FormatInt(recs[i].Timestamp, 10) }
	for _, row := range []struct {
		name        string
		args        []string
		first, last int64
	}{
		{"from an offset in the middle of a batch", []string{"-o", "37", "-e"}, 37, 99},
		{"the last ten", []string{"-o", "-10", "-e"}, 90, 99},
		{"from a time", []string{"-o", at(42), "-e"}, 42, 99},
		{"between two times", []string{"-o", at(10), "-o", until(20)}, 10, 19},
		{"from before the first record", []string{"-o", "s@1", "-e"}, 0, 99},
	} {
		t.Run(row.name, func(t *testing.T) {
			got := kcatRead(t, topic, row.args...)
			if n := row.last - row.first + 1; int64(len(got)) != n {
				t.Fatalf("read %d records, want %d", len(got), n)
			}
			for i, r := range got {
				if r.Offset != row.first+int64(i) || !same(r.Value, recs[r.Offset].Value) {
					t.Fatalf("record %d has offset %d and value %s", i, r.Offset, show(r.Value))
				}
			}
		})
	}
	out := string(kcat(t, nil, "-Q", "-t", topic+":0:"+strconv.FormatInt(recs[55].Timestamp, 10)))
	if !strings.Contains(out, "offset 55") {
		t.Errorf("kcat -Q by time of offset 55 says %q", out)
	}
}

func TestKcat_ReadsToTheEndOfAnEmptyTopic(t *testing.T) {
	need(t, kcatClient())
	if got := kcatRead(t, newTopic(t, 1), "-o", "beginning", "-e"); len(got) != 0 {
		t.Fatalf("%d records in an empty topic", len(got))
	}
}
