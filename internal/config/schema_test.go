package config

import (
	"fmt"
	"math"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestSchema_IsSound(t *testing.T) {
	seen := map[string]bool{}
	for _, name := range parseSchema().names() {
		if seen[name] {
			t.Errorf("%s is there twice", name)
		}
		seen[name] = true
		if o, ok := parseSchema().other(name); ok {
			t.Errorf("%s is a setting and also matched by %s", name, o.Key)
		}
	}
	for _, f := range Fields() {
		for _, text := range []string{f.Default, f.Dev} {
			if _, err := f.parse(text, f.Unit); err != nil {
				t.Errorf("%s: default: %v", f.Key, err)
			}
		}
		for _, text := range []string{f.Min, f.Max} {
			if text == "" {
				continue
			}
			if _, err := f.number(text, f.Unit); err != nil {
				t.Errorf("%s: bound: %v", f.Key, err)
			}
		}
		if !strings.HasSuffix(f.Doc, ".") || f.Group == "" {
			t.Errorf("%s: doc %q, group %q", f.Key, f.Doc, f.Group)
		}
		if f.Status != "" && f.Status != "K" && f.Status != "A" {
			t.Errorf("%s: status %q", f.Key, f.Status)
		}
		if strings.HasSuffix(f.Key, ".ms") && f.Unit != "ms" {
			t.Errorf("%s: a plain number must be milliseconds", f.Key)
		}
	}
	for _, o := range Others() {
		if o.Why == "" {
			t.Errorf("%s: no reason", o.Key)
		}
	}
}

func TestSchema_ValuesRoundTrip(t *testing.T) {
	for _, f := range Fields() {
		value := f.DefaultValue()
		again, err := f.parse(f.Text(value), "")
		if err != nil || !reflect.DeepEqual(again, value) {
			t.Errorf("%s: %v is written %q and read as %v, %v", f.Key, value, f.Text(value), again, err)
		}
	}
}

func TestConfigs_AllFilesLoad(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir()) // the clone may lie in the folder for temporary files
	files, err := filepath.Glob("../../configs/*.yaml")
	if err != nil || len(files) < 4 {
		t.Fatalf("files %v, %v", files, err)
	}
	for _, file := range files {
		c := load(t, Request{File: file})
		if len(c.Warnings) > 0 {
			t.Errorf("%s: %v", file, c.Warnings)
		}
		switch filepath.Base(file) {
		case "full-reference.yaml":
			if want := load(t, Request{DefaultsOnly: true}); !reflect.DeepEqual(c.Settings, want.Settings) {
				t.Errorf("%s is not the defaults", file)
			}
		case "dev.yaml":
			if want := load(t, Request{DefaultsOnly: true, Dev: true}); !reflect.DeepEqual(c.Settings, want.Settings) {
				t.Errorf("%s is not the defaults of development", file)
			}
		}
	}
}

// The three files of a cluster differ in who they are, and agree on who founds it.
func TestConfigs_ThreeNodesAreOneCluster(t *testing.T) {
	var first *Config
	for id := int32(1); id <= 3; id++ {
		c := load(t, Request{File: fmt.Sprintf("../../configs/three-node/%d.yaml", id)})
		if len(c.Warnings) > 0 || c.NodeID != id || len(c.Founders()) != 3 || c.Founders()[id-1].Node != id {
			t.Errorf("%d: %v, founders %v, warnings %v", id, c.NodeID, c.Founders(), c.Warnings)
		}
		if first == nil {
			first = c
		}
		if !reflect.DeepEqual(c.Peers, first.Peers) || c.ClusterListen != first.ClusterListen {
			t.Errorf("%d: %v at %s, the first has %v", id, c.Peers, c.ClusterListen, first.Peers)
		}
	}
}

func TestPrint_IsReadBackAsItself(t *testing.T) {
	want := load(t, Request{File: "../../configs/production.yaml"})
	for _, diff := range []bool{false, true} {
		got := load(t, Request{File: write(t, "b.yaml", YAML(want.Lines(diff), true))})
		if !reflect.DeepEqual(got.Settings, want.Settings) {
			t.Errorf("diff %v: %+v, want %+v", diff, got.Settings, want.Settings)
		}
	}
}

func TestDescribe_KnownIgnoredUnknown(t *testing.T) {
	for key, want := range map[string]string{
		"log.roll.hours": "log.roll.ms\n", "zookeeper.connect": "refused: there is no ZooKeeper", "num.io.threads": "ignored: Go",
	} {
		if got, ok := Describe(key); !ok || !strings.Contains(got, want) {
			t.Errorf("%s: %q %v", key, got, ok)
		}
	}
	if _, ok := Describe("nonsense"); ok {
		t.Error("nonsense is described")
	}
}

func TestParseSize_Table(t *testing.T) {
	for text, want := range map[string]int64{"0": 0, "12": 12, "64MiB": 64 << 20, "1.5 GiB": 3 << 29, "2MB": 2e6, "9223372036854775807": math.MaxInt64} {
		if got, err := ParseSize(text); err != nil || int64(got) != want {
			t.Errorf("%q is %d, %v, want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "MiB", "64M", "64 mib", "-1", "1.3", "9223372036854775808", "8388608TiB", "1e3", "0x10", "1/3", strings.Repeat("9", 1000)} {
		if got, err := ParseSize(text); err == nil {
			t.Errorf("%q is read as %d", text, got)
		}
	}
}

func TestParseDuration_Table(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"7d": 168 * time.Hour, "1h30m": 90 * time.Minute, "10min": 10 * time.Minute, "250": 250 * time.Millisecond, "1.5s": 1500 * time.Millisecond, "0s": 0, "2h 5min": 125 * time.Minute,
	} {
		if got, err := ParseDuration(text, "ms"); err != nil || got != want {
			t.Errorf("%q is %v, %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "d", "7x", "-1s", "1h30", "200000000d", "200000d", "1e3s", "106751d 106751d"} {
		if got, err := ParseDuration(text, "ms"); err == nil {
			t.Errorf("%q is read as %v", text, got)
		}
	}
	if got, err := ParseDuration("30", ""); err == nil {
		t.Errorf("30 without a unit is read as %v", got)
	}
}

func FuzzParse(f *testing.F) {
	f.Add("log:\n  dirs: /x\nlisteners: [A://:1]\n", "7d", "64MiB")
	f.Fuzz(func(t *testing.T, file, duration, size string) {
		parseYAML("f", []byte(file))
		parseProperties("f", []byte(file))
		if d, err := ParseDuration(duration, "ms"); err == nil {
			if again, err := ParseDuration(FormatDuration(d), ""); err != nil || again != d {
				t.Errorf("%q is %d, written %q, read as %d, %v", duration, d, FormatDuration(d), again, err)
			}
		}
		if s, err := ParseSize(size); err == nil {
			if again, err := ParseSize(s.String()); err != nil || again != s {
				t.Errorf("%q is %d, written %q, read as %d, %v", size, s, s, again, err)
			}
		}
	})
}
