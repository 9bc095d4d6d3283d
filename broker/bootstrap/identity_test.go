package bootstrap

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestOrdinalOf_Names(t *testing.T) {
	for host, want := range map[string]int32{
		"broker-2": 2, "broker-0": 0, "broker-12.broker.default.svc": 12, "broker": -1, "web-01a": -1, "x-99999999999": -1, "": -1,
	} {
		if got := ordinalOf(host); got != want {
			t.Errorf("%q: %d, want %d", host, got, want)
		}
	}
}

func TestIdentity_RoundTripAndForeignFiles(t *testing.T) {
	dir := t.TempDir()
	if _, ok, err := ReadIdentity(dir); ok || err != nil {
		t.Fatalf("empty directory: %v %v", ok, err)
	}
	want := Identity{3, "abc", "dir", 101, 1<<62 + 7}
	if err := writeIdentity(dir, want); err != nil {
		t.Fatal(err)
	}
	if got, ok, err := ReadIdentity(dir); got != want || !ok || err != nil {
		t.Errorf("read %+v %v %v", got, ok, err)
	}
	for name, row := range map[string]struct{ text, want string }{
		"Kafka's own":   {"#\n#Sat Nov 21 10:00:00 UTC 2026\ncluster.id=x\ndirectory.id=y\nnode.id=4\nversion=1\n", ""},
		"newer version": {"version=2\nnode.id=1\n", "written by a newer program"},
		"no id":         {"version=1\n", "restore the file from a backup"},
		"negative id":   {"version=1\nnode.id=-1\n", "restore the file from a backup"},
	} {
		if err := os.WriteFile(filepath.Join(dir, MetaName), []byte(row.text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, _, err := ReadIdentity(dir)
		if row.want == "" && err != nil || row.want != "" && (err == nil || !strings.Contains(err.Error(), row.want)) {
			t.Errorf("%s: %v, want %q", name, err, row.want)
		}
	}
}
