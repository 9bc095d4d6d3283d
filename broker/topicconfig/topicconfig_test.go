package topicconfig

import (
	"bufio"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestDefs_AreSortedAndTheirDefaultsValid(t *testing.T) {
	s := NewSchema()
	if !slices.IsSortedFunc(s.Defs(), func(a, b Def) int { return strings.Compare(a.Name, b.Name) }) {
		t.Error("not sorted")
	}
	for _, d := range s.Defs() {
		if err := d.Validate(auto(d.Default, 3)); err != nil {
			t.Error(err)
		}
		if d.Doc == "" {
			t.Errorf("%s has no documentation", d.Name)
		}
	}
}

func TestValidate(t *testing.T) {
	s := NewSchema()
	for _, row := range []struct {
		name, value string
		good        bool
	}{
		{"retention.ms", "-1", true},
		{"retention.ms", "-2", false},
		{"retention.ms", "1.5", false},
		{"retention.ms", "", false},
		{"retention.ms", "9223372036854775807", true},
		{"retention.ms", "9223372036854775808", false},
		{"segment.bytes", "1048576", true},
		{"segment.bytes", "1048575", false},
		{"segment.bytes", "2147483648", false},
		{"cleanup.policy", "compact, delete", true},
		{"cleanup.policy", "delete,delete", true},
		{"cleanup.policy", "", true},
		{"min.cleanable.dirty.ratio", "0.3", true},
		{"min.cleanable.dirty.ratio", "1.1", false},
		{"min.cleanable.dirty.ratio", "NaN", false},
		{"unclean.leader.election.enable", "TRUE", true},
		{"unclean.leader.election.enable", "yes", false},
		{"compression.type", "zstd", true},
		{"compression.type", "rar", false},
		{"min.insync.replicas", "0", false},
		{"min.insync.replicas", "2", true},
		{"flush.messages", "0", false},
		{"no.such", "1", false},
	} {
		if err := s.Validate(row.name, row.value); (err == nil) != row.good {
			t.Errorf("%s=%q: %v", row.name, row.value, err)
		}
	}
}

// What Apache Kafka 4.3 answered to IncrementalAlterConfigs: name, value, error code.
func TestValidate_AsKafka(t *testing.T) {
	f, err := os.Open("testdata/kafka-4.3.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close() //nolint:errcheck // only read
	s, seen := NewSchema(), map[string]int{}
	for lines := bufio.NewScanner(f); lines.Scan(); {
		part := strings.Split(lines.Text(), "\t")
		value, err := strconv.Unquote(part[1])
		if err != nil {
			t.Fatal(err)
		}
		seen[part[0]]++
		if part[0] == "min.cleanable.dirty.ratio" && value == "NaN" {
			continue // Kafka takes it
		}
		if err := s.Validate(part[0], value); (err == nil) != (part[2] == "0") {
			t.Errorf("%s=%q: %v, Kafka answers %s", part[0], value, err, part[2])
		}
	}
	for _, d := range s.Defs() {
		if seen[d.Name] < 50 {
			t.Errorf("%s was tried with %d values", d.Name, seen[d.Name])
		}
	}
}

func TestResolve_Precedence(t *testing.T) {
	s := NewSchema()
	d, _ := s.Lookup("retention.ms")
	values := map[string][]Value{
		"log.retention.hours": {{"log.retention.hours", "2", SourceStaticBroker}, {"log.retention.hours", "168", SourceDefault}},
		"log.retention.ms":    {{"log.retention.ms", "5", SourceDynamicAll}},
	}
	got := Resolve(d, map[string]string{"retention.ms": "1"}, func(name string) []Value { return values[name] }, 1)
	want := []Value{
		{"retention.ms", "1", SourceTopic},
		{"log.retention.ms", "5", SourceDynamicAll},
		{"log.retention.hours", "7200000", SourceStaticBroker},
		{"log.retention.hours", "604800000", SourceDefault},
	}
	if !slices.Equal(got, want) {
		t.Errorf("%+v", got)
	}
	if got := Resolve(d, nil, func(string) []Value { return nil }, 1); len(got) != 1 || got[0].Value != "604800000" || got[0].Source != SourceDefault {
		t.Errorf("%+v", got)
	}
}

func TestParse(t *testing.T) {
	s := NewSchema()
	none := func(string) []Value { return nil }
	v := s.Parse(nil, none, 3)
	if v.MinInSyncReplicas != 2 || v.FlushMessages != 1 || v.FlushInterval != 0 || v.SegmentBytes != 256<<20 || !v.Delete || v.Compact ||
		v.RetentionAge != 7*24*time.Hour || v.Compression != "producer" || v.MaxMessageBytes != 1048588 {
		t.Errorf("%+v", v)
	}
	v = s.Parse(map[string]string{"compression.type": "zstd", "cleanup.policy": "compact", "flush.ms": "1000", "retention.ms": "-1", "segment.ms": "rubbish"}, none, 1)
	if v.Compression != "zstd" || v.CompressionLevel != 3 || v.Delete || !v.Compact || v.FlushInterval != time.Second || v.RetentionAge >= 0 || v.SegmentAge != 7*24*time.Hour {
		t.Errorf("%+v", v)
	}
}
