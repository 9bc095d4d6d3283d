package main

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// A bundle says what is inside; what cannot be had is written down, and records are not in it.
func TestDebugBundle(t *testing.T) {
	all, http := foundQuick(t, 1)
	done(t, "topic", "create", "kept", "-b", all[0].kafka)
	out := filepath.Join(t.TempDir(), "b.tar.gz")
	said := done(t, "debug", "bundle", "-b", all[0].kafka, "--http", http[0]+",127.0.0.1:1", "--out", out)
	f, err := os.Open(out)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close() //nolint:errcheck // read only
	zip, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for r := tar.NewReader(zip); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		name := h.Name[strings.IndexByte(h.Name, '/')+1:]
		names = append(names, name)
		if want := map[string]string{
			"health.json": `"healthy": true`, "topics.json": `"kept"`, "settings.json": "log.segment.bytes", "metrics.txt": "stele_build_info", "goroutines.txt": "goroutine ",
		}[name]; want != "" && !strings.Contains(string(text), want) {
			t.Errorf("%s lacks %q:\n%.500s", h.Name, want, text)
		}
		if !strings.Contains(said, h.Name) {
			t.Errorf("%s is not named:\n%s", h.Name, said)
		}
	}
	for _, want := range []string{"info.json", "health.json", "topics.json", "settings.json", "metrics.txt", "readyz.json", "nodes.json", "goroutines.txt", "heap.pprof", "metrics.txt.error.txt"} {
		if !slices.Contains(names, want) {
			t.Errorf("%s is not there: %v", want, names)
		}
	}
}
