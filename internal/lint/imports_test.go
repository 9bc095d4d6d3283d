package lint

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/stelemq/stele"

// goPackage is what `go list -json` says of a package.
type goPackage struct {
	ImportPath   string
	Dir          string
	Name         string
	Imports      []string
	TestImports  []string
	XTestImports []string
	GoFiles      []string
	TestGoFiles  []string
	XTestGoFiles []string
}

// Path is the import path within the module, "" for its root.
func (p goPackage) Path() string {
	return strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, module), "/")
}

// testOnly are packages that exist for tests of others.
func testOnly(path string) bool {
	for _, suffix := range []string{"test", "testutil"} {
		if strings.HasSuffix(path, suffix) {
			return true
		}
	}
	return strings.HasPrefix(path, "tests/")
}

// layer says what the packages at or below Prefix may import from this module.
type layer struct {
	prefix string
	may    []string
}

// layers, the most specific first. Imports go downwards only (docs/ARCHITECTURE.md).
func layers() []layer {
	return []layer{
		{"protocol/record", []string{"internal/"}},
		{"protocol", []string{"protocol/record", "internal/"}},
		{"commitlog", []string{"protocol/record", "internal/"}},
		{"dledger/raftfile", []string{"protocol/record", "internal/"}},
		{"dledger/journal", []string{"dledger/raftfile", "protocol/record", "internal/"}},
		{"dledger/transport", []string{"protocol/record", "internal/"}},
		{"dledger", []string{"commitlog", "protocol/record", "internal/", "dledger/"}},
		{"broker/bootstrap", []string{"broker/metadata", "dledger", "dledger/", "protocol", "internal/"}},
		{"broker/", []string{"protocol", "protocol/record", "internal/", "broker/"}},
		{"broker", []string{"broker/", "protocol", "protocol/record", "dledger", "dledger/transport", "internal/"}},
		{"client", []string{"client/", "protocol", "protocol/record", "internal/"}},
		{"bench/replication", []string{"dledger", "dledger/transport", "protocol/record"}}, // measures dledger alone
		{"bench", []string{"bench/", "client", "protocol", "protocol/record", "internal/"}},
		{"cmd/broker", []string{"broker", "broker/", "dledger", "dledger/transport", "commitlog", "client", "bench/", "protocol", "protocol/record", "internal/"}},
		{"cmd/producer", []string{"client", "protocol/record", "internal/"}},
		{"cmd/consumer", []string{"client", "protocol/record", "internal/"}},
		{"internal/", []string{"internal/", "protocol/record"}},
		{"tests/robustness", []string{"tests/robustness/"}}, // judges the product without sharing its code
	}
}

// owners of third parties: nobody else may import them.
func owners() map[string][]string {
	return map[string][]string{
		"github.com/lni/dragonboat":     {"dledger"},
		"github.com/segmentio/kafka-go": {"client"},
		"github.com/spf13/viper":        {"internal/config"},
		"github.com/spf13/cobra":        {"cmd", "internal/cli"},
		"github.com/twmb/franz-go":      {"protocol", "broker", "client", "bench", "tests"},
	}
}

// strangers are parts of an owner that keep away from its third party all the same.
func strangers() map[string][]string {
	return map[string][]string{
		"github.com/lni/dragonboat": {"dledger/journal", "dledger/raftfile"},
	}
}

func under(path, prefix string) bool {
	if rest, ok := strings.CutSuffix(prefix, "/"); ok {
		return strings.HasPrefix(path, rest+"/")
	}
	return path == prefix || strings.HasPrefix(path, prefix+"/")
}

// exactly is under, except that a prefix without a slash stands for that package alone.
func exactly(path, pattern string) bool {
	if strings.HasSuffix(pattern, "/") {
		return under(path, pattern)
	}
	return path == pattern
}

// violations of the import rules by one package; empty if it keeps them.
func violations(p goPackage) []string {
	var found []string
	path := p.Path()
	for _, imported := range p.Imports {
		for prefix, who := range strangers() {
			if under(imported, prefix) && slices.ContainsFunc(who, func(w string) bool { return under(path, w) }) {
				found = append(found, path+" imports "+imported+", of which it knows nothing")
			}
		}
		for prefix, who := range owners() {
			if under(imported, prefix) && !slices.ContainsFunc(who, func(w string) bool { return under(path, w) }) && !testOnly(path) {
				found = append(found, path+" imports "+imported+", which only "+strings.Join(who, ", ")+" may")
			}
		}
		if !under(imported, module) {
			continue
		}
		ours := strings.TrimPrefix(strings.TrimPrefix(imported, module), "/")
		switch {
		case testOnly(path):
		case testOnly(ours):
			found = append(found, path+" imports the test package "+ours+" outside its tests")
		default:
			if l := layerOf(path); l == nil {
				found = append(found, path+" belongs to no layer: add it to layers()")
			} else if !slices.ContainsFunc(l.may, func(m string) bool { return exactly(ours, m) }) {
				found = append(found, path+" imports "+ours+": against the import direction")
			}
		}
	}
	return found
}

func layerOf(path string) *layer {
	for _, l := range layers() {
		if under(path, l.prefix) {
			return &l
		}
	}
	return nil
}

func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func packages(t *testing.T) []goPackage {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-e", "-json=ImportPath,Dir,Name,Imports,TestImports,XTestImports,GoFiles,TestGoFiles,XTestGoFiles", "./...")
	cmd.Dir = root(t)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var all []goPackage
	dec := json.NewDecoder(bytes.NewReader(out))
	for {
		var p goPackage
		switch err := dec.Decode(&p); {
		case errors.Is(err, io.EOF):
			return all
		case err != nil:
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

func TestImports_GoDownwardsOnly(t *testing.T) {
	for _, p := range packages(t) {
		for _, v := range violations(p) {
			t.Error(v)
		}
	}
}

func TestImports_ViolationsAreSeen(t *testing.T) {
	for _, row := range []struct {
		name, from, to string
		bad            bool
	}{
		{"broker sees partitions, not files", "broker", "commitlog", true},
		{"log knows nothing of Raft", "commitlog", "dledger", true},
		{"record is a leaf", "protocol/record", "protocol", true},
		{"client is no server", "client", "broker", true},
		{"pure sub-package has no log", "broker/metadata", "dledger", true},
		{"test package outside tests", "broker", "broker/brokertest", true},
		{"journal is below its replicas", "dledger/journal", "dledger", true},
		{"journal knows no segments", "dledger/journal", "commitlog", true},
		{"raftfile is below the journal", "dledger/raftfile", "dledger/journal", true},
		{"transport carries and does not store", "dledger/transport", "dledger/journal", true},
		{"dledger uses its journal", "dledger", "dledger/journal", false},
		{"broker uses dledger", "broker", "dledger", false},
		{"program wires", "cmd/broker", "dledger", false},
		{"test package may", "broker/brokertest", "client", false},
	} {
		p := goPackage{ImportPath: module + "/" + row.from, Imports: []string{module + "/" + row.to}}
		if got := len(violations(p)) > 0; got != row.bad {
			t.Errorf("%s: %s -> %s: violation %v, want %v", row.name, row.from, row.to, got, row.bad)
		}
	}
	for _, from := range []string{"broker", "dledger/journal", "dledger/raftfile"} {
		raft := goPackage{ImportPath: module + "/" + from, Imports: []string{"github.com/lni/dragonboat/v4"}}
		if len(violations(raft)) == 0 {
			t.Errorf("%s importing dragonboat was not seen", from)
		}
	}
}

func TestPackages_HaveDocFile(t *testing.T) {
	for _, p := range packages(t) {
		if len(p.GoFiles) == 0 && strings.HasPrefix(p.Path(), "tests/") {
			continue
		}
		text, err := os.ReadFile(filepath.Join(p.Dir, "doc.go"))
		if err != nil {
			t.Errorf("%s has no doc.go", p.Path())
			continue
		}
		want := "// Package " + p.Name + " "
		if p.Name == "main" {
			want = "// Command " + filepath.Base(p.Dir) + " "
		}
		if !bytes.Contains(text, []byte(want)) {
			t.Errorf("%s/doc.go lacks a comment that begins with %q", p.Path(), want)
		}
	}
}
