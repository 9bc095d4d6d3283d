package lint

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Limits of source files, in lines.
const (
	maxLines     = 1000
	maxLinesTest = 1500
)

// sources calls f for each text file of the repository with its path and bytes.
func sources(t *testing.T, f func(path string, text []byte)) {
	t.Helper()
	base := root(t)
	err := filepath.WalkDir(base, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(base, path)
		if err != nil {
			return err
		}
		if d.IsDir() {
			switch d.Name() {
			case ".git", ".cache", "bin", "dist", "data", "node_modules", "testdata", ".venv", "target":
				return fs.SkipDir
			}
			return nil
		}
		if !d.Type().IsRegular() {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if !bytes.Contains(text, []byte{0}) {
			f(filepath.ToSlash(rel), text)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestSources_StaySmall(t *testing.T) {
	sources(t, func(path string, text []byte) {
		if !strings.HasSuffix(path, ".go") {
			return
		}
		limit := maxLines
		if strings.HasSuffix(path, "_test.go") {
			limit = maxLinesTest
		}
		if n := bytes.Count(text, []byte{'\n'}); n > limit {
			t.Errorf("%s has %d lines, more than %d", path, n, limit)
		}
	})
}

func TestSources_HaveNoForbiddenWords(t *testing.T) {
	// Written in halves, so that this file passes too.
	words := []*regexp.Regexp{
		regexp.MustCompile(`\bTO` + `DO\b`),
		regexp.MustCompile(`\bFIX` + `ME\b`),
		regexp.MustCompile(`\bXX` + `X\b`),
		regexp.MustCompile(`/work` + `/(w|main|shared)\b`),
		regexp.MustCompile(`\.\./` + `shared/`),
		regexp.MustCompile(`(?i)\bproto` + `type\b`),
		regexp.MustCompile(`(?i)as an ` + `(ai|llm)\b`),
	}
	sources(t, func(path string, text []byte) {
		for _, w := range words {
			if at := w.FindIndex(text); at != nil {
				line := 1 + bytes.Count(text[:at[0]], []byte{'\n'})
				t.Errorf("%s:%d: forbidden word %q", path, line, text[at[0]:at[1]])
			}
		}
	})
}

func TestDocs_RelativeLinksExist(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)\s]+)\)`)
	fence := regexp.MustCompile("(?s)```.*?```")
	sources(t, func(path string, text []byte) {
		if !strings.HasSuffix(path, ".md") {
			return
		}
		for _, m := range link.FindAllSubmatch(fence.ReplaceAll(text, nil), -1) {
			target, _, _ := strings.Cut(string(m[1]), "#")
			if target == "" || strings.Contains(target, "://") || strings.HasPrefix(target, "mailto:") {
				continue
			}
			if _, err := os.Stat(filepath.Join(root(t), filepath.Dir(path), target)); err != nil {
				t.Errorf("%s links to %s, which does not exist", path, target)
			}
		}
	})
}
