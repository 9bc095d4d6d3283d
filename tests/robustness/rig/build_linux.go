package rig

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

//nolint:gochecknoglobals // one cache for the tests of a process
var builds struct {
	sync.Mutex
	made map[string]string
	dir  string
}

// Build builds the broker of this tree and returns its path. overlay replaces source files by others, path for
// path as `go build -overlay` has it, with paths from the root of the module. The same build is made once.
func Build(t testing.TB, overlay map[string]string) string {
	t.Helper()
	root, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	replace := map[string]string{}
	for from, to := range overlay {
		replace[filepath.Join(root, from)] = to
	}
	key, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	builds.Lock()
	defer builds.Unlock()
	if path := builds.made[string(key)]; path != "" {
		return path
	}
	if builds.made == nil {
		builds.made = map[string]string{}
		if builds.dir, err = os.MkdirTemp("", dirPrefix()); err != nil { //nolint:usetesting // outlives the test
			t.Fatal(err)
		}
	}
	path := filepath.Join(builds.dir, fmt.Sprintf("broker-%d", len(builds.made)))
	args := []string{"build", "-trimpath", "-o", path}
	if len(overlay) > 0 {
		file := path + ".json"
		if err := os.WriteFile(file, key, 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, "-overlay", file)
	}
	cmd := exec.Command("go", append(args, "./cmd/broker")...)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build the broker: %v\n%s", err, out)
	}
	builds.made[string(key)] = path
	return path
}

// removeBuilds removes what Build made.
func removeBuilds() {
	builds.Lock()
	defer builds.Unlock()
	if builds.dir != "" {
		_ = os.RemoveAll(builds.dir)
	}
}
