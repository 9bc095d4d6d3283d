package config

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/viper"
)

// The traps of viper that this package works around. Where a later version closes one, its test says so.

func TestViper_DefaultDelimiterLosesDottedKeys(t *testing.T) {
	lossy := viper.New()
	lossy.SetConfigType("yaml")
	if err := lossy.ReadConfig(strings.NewReader("log.segment.bytes: 7\n")); err != nil {
		t.Fatal(err)
	}
	var into struct {
		Log struct {
			Segment struct{ Bytes int }
		}
	}
	if err := lossy.Unmarshal(&into); err != nil {
		t.Fatal(err)
	}
	if into.Log.Segment.Bytes == 7 {
		t.Log("viper keeps dotted keys now; KeyDelimiter may go")
	}
	if c := load(t, Request{File: write(t, "b.yaml", "log.segment.bytes: 2097152\n")}); c.SegmentBytes != 2<<20 {
		t.Errorf("log.segment.bytes is %d", c.SegmentBytes)
	}
}

func TestViper_KeysAreLowerCase(t *testing.T) {
	for _, name := range parseSchema().names() {
		if name != strings.ToLower(name) || strings.Contains(name, "::") || strings.Contains(name, "_") {
			t.Errorf("%q would be changed by viper or by its environment variable", name)
		}
	}
}

func TestViper_EveryKeyHasADefault(t *testing.T) {
	l := loader{schema: parseSchema(), origins: map[string]Origin{}, viper: viper.NewWithOptions(viper.KeyDelimiter("::"))}
	l.defaults()
	for _, f := range l.schema.fields {
		if !l.viper.IsSet(f.Key) {
			t.Errorf("%s is unknown to viper", f.Key)
		}
	}
}

func TestViper_UnitsAreParsedByUs(t *testing.T) {
	v := viper.New()
	v.Set("size", "64MiB")
	v.Set("time", "7d")
	if v.GetSizeInBytes("size") == 64<<20 || v.GetDuration("time") != 0 {
		t.Log("viper reads these units now")
	}
	c := load(t, Request{Overrides: set("log.segment.bytes=64MiB", "log.roll.ms=7d")})
	if c.SegmentBytes != 64<<20 || c.SegmentAge.Hours() != 168 {
		t.Errorf("64MiB is %d, 7d is %v", c.SegmentBytes, c.SegmentAge)
	}
}

func TestViper_IsPinned(t *testing.T) {
	text, err := os.ReadFile("../../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`(?m)^\s*github\.com/spf13/viper v1\.21\.0$`).Match(text) {
		t.Error("go.mod must require viper v1.21.0 itself: what others require is from 2019")
	}
}
