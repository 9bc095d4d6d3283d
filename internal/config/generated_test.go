package config

import (
	"flag"
	"os"
	"testing"
)

var update = flag.Bool("update", false, "rewrite the generated files")

func TestGenerated_FilesAreFresh(t *testing.T) {
	for path, want := range map[string]string{
		"../../docs/config.md":              Markdown(),
		"../../configs/full-reference.yaml": Reference(),
	} {
		if *update {
			if err := os.WriteFile(path, []byte(want), 0o644); err != nil { //nolint:gosec // a file of the repository
				t.Fatal(err)
			}
		}
		got, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != want {
			t.Errorf("%s differs from the schema; run: make docs", path)
		}
	}
}
