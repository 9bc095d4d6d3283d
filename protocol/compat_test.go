package protocol_test

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stelemq/stele/protocol"
)

var update = flag.Bool("update", false, "rewrite generated documents")

const (
	tableBegin = "<!-- table: begin; go test ./protocol -run TestCompatDoc -update -->\n"
	tableEnd   = "<!-- table: end -->\n"
)

// apiDoc is the table of APIs as it stands in docs/kafka-compat.md.
func apiDoc() string {
	var b strings.Builder
	b.WriteString("\n| key | API | versions | flexible from | served |\n| --: | --- | --- | --- | --- |\n")
	for _, a := range protocol.APIs() {
		flexible, served := "never", "no"
		if a.FlexibleFrom >= 0 {
			flexible = fmt.Sprintf("v%d", a.FlexibleFrom)
		}
		if a.Served {
			served = "yes"
			if a.ServedMin > a.Min {
				served = fmt.Sprintf("from v%d", a.ServedMin)
			}
		}
		versions := fmt.Sprintf("%d–%d", a.Min, a.Max)
		if a.Min == a.Max {
			versions = fmt.Sprintf("%d", a.Min)
		}
		fmt.Fprintf(&b, "| %d | %s | %s | %s | %s |\n", a.Key, a.Name, versions, flexible, served)
	}
	b.WriteString("\n")
	return b.String()
}

func TestCompatDoc_HasTheTable(t *testing.T) {
	path := filepath.Join("..", "docs", "kafka-compat.md")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(text), tableBegin)
	_, after, ok2 := strings.Cut(rest, tableEnd)
	if !ok || !ok2 {
		t.Fatalf("%s lacks the marks around the table", path)
	}
	want := []byte(before + tableBegin + apiDoc() + tableEnd + after)
	if bytes.Equal(text, want) {
		return
	}
	if !*update {
		t.Fatalf("%s differs from the table in protocol/table.go: go test ./protocol -run TestCompatDoc -update", path)
	}
	if err := os.WriteFile(path, want, 0o644); err != nil { //nolint:gosec // a document
		t.Fatal(err)
	}
}
