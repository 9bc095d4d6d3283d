package compat

import (
	"bytes"
	"encoding/json"
	"os/exec"
	"strconv"
	"testing"
	"unicode/utf8"
)

// steleClient is this repository's own producer and consumer, as one more among the others.
func steleClient() client {
	return client{name: "stele", codecs: codecs, missing: alwaysThere, produce: steleProduce, consume: steleConsume}
}

// program returns the path of one of this repository's programs, built once per run.
func (b *target) program(t *testing.T, name string) string {
	t.Helper()
	b.building.Lock()
	defer b.building.Unlock()
	if path, ok := b.built[name]; ok {
		return path
	}
	repo, err := repository()
	if err != nil {
		t.Fatal(err)
	}
	path := cache("compat", "bin", name)
	build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-o", path, "./cmd/"+name)
	build.Dir = repo
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", name, err, out)
	}
	if b.built == nil {
		b.built = map[string]string{}
	}
	b.built[name] = path
	return path
}

// steleBytes are bytes in the JSON of producer and consumer: text where they are UTF-8, else base64.
type steleBytes struct {
	text  *string
	other []byte
}

func toStele(b []byte) steleBytes {
	switch {
	case b == nil:
		return steleBytes{}
	case utf8.Valid(b):
		return steleBytes{text: new(string(b))}
	}
	return steleBytes{other: b}
}

func (s steleBytes) bytes() []byte {
	if s.text != nil {
		return []byte(*s.text)
	}
	return s.other
}

// steleRecord is a record in that JSON.
type steleRecord struct {
	Topic     string        `json:"topic,omitempty"`
	Partition int32         `json:"partition"`
	Offset    int64         `json:"offset,omitempty"`
	Timestamp int64         `json:"timestamp,omitempty"`
	Key       *string       `json:"key"`
	Key64     []byte        `json:"key_base64,omitempty"`
	Value     *string       `json:"value"`
	Value64   []byte        `json:"value_base64,omitempty"`
	Headers   []steleHeader `json:"headers,omitempty"`
}

type steleHeader struct {
	Key     string  `json:"key"`
	Value   *string `json:"value"`
	Value64 []byte  `json:"value_base64,omitempty"`
}

func steleProduce(t *testing.T, topic, codec string, recs []record) {
	t.Helper()
	var in bytes.Buffer
	enc := json.NewEncoder(&in)
	for _, r := range recs {
		k, v := toStele(r.Key), toStele(r.Value)
		out := steleRecord{Timestamp: r.Timestamp, Key: k.text, Key64: k.other, Value: v.text, Value64: v.other}
		for _, h := range r.Headers {
			v := toStele(h.Value)
			out.Headers = append(out.Headers, steleHeader{h.Key, v.text, v.other})
		}
		if err := enc.Encode(out); err != nil {
			t.Fatal(err)
		}
	}
	program(t, &in, theBroker.program(t, "producer"), "-b", theBroker.bootstrap, "-t", topic, "--json", "-z", codec)
}

func steleConsume(t *testing.T, topics []want) map[string][]record {
	t.Helper()
	got := map[string][]record{}
	for _, w := range topics {
		out := program(t, nil, theBroker.program(t, "consumer"), "-b", theBroker.bootstrap, "-t", w.Topic, "-p", "0", "--from-beginning", "-n", strconv.Itoa(w.Count), "-f", "json")
		dec := json.NewDecoder(bytes.NewReader(out))
		for dec.More() {
			var in steleRecord
			if err := dec.Decode(&in); err != nil {
				t.Fatal(err)
			}
			r := record{
				Offset: in.Offset, Timestamp: in.Timestamp,
				Key: steleBytes{in.Key, in.Key64}.bytes(), Value: steleBytes{in.Value, in.Value64}.bytes(),
			}
			for _, h := range in.Headers {
				r.Headers = append(r.Headers, header{h.Key, steleBytes{h.Value, h.Value64}.bytes()})
			}
			got[w.Topic] = append(got[w.Topic], r)
		}
	}
	return got
}
