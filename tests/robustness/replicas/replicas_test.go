package replicas

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stelemq/stele/protocol/record"
)

// batchOf makes a batch of one record.
func batchOf(t *testing.T, base record.Offset, value string) []byte {
	t.Helper()
	var b record.Builder
	b.Append(record.Record{Value: []byte(value), Timestamp: 1})
	out, err := b.Build(0, 0)
	if err != nil {
		t.Fatal(err)
	}
	binary.BigEndian.PutUint64(out, uint64(base)) // which the checksum does not cover
	return out
}

// write writes segment files of one partition: for each segment the values, one batch each.
func write(t *testing.T, first record.Offset, segments ...[]string) string {
	t.Helper()
	dir := t.TempDir()
	partition := filepath.Join(dir, "topic-0")
	if err := os.Mkdir(partition, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, values := range segments {
		name := filepath.Join(partition, fmt.Sprintf("%020d.log", first))
		var file []byte
		for _, v := range values {
			file = append(file, batchOf(t, first, v)...)
			first++
		}
		if err := os.WriteFile(name, file, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestCompare_SameRecordsInOtherSegments(t *testing.T) {
	a := write(t, 0, []string{"a", "b"}, []string{"c", "d"})
	b := write(t, 1, []string{"b", "c", "d", "e"}) // begins and ends later
	r, err := Compare([]string{a, b})
	if err != nil || len(r.Differences) > 0 || r.Pairs != 1 || r.Batches != 3 {
		t.Fatalf("%+v, %v", r, err)
	}
}

func TestCompare_DifferencesAreFound(t *testing.T) {
	a := write(t, 0, []string{"a", "b", "c"})
	for name, b := range map[string]string{
		"other bytes":   write(t, 0, []string{"a", "X", "c"}),
		"other order":   write(t, 0, []string{"a", "c", "b"}),
		"a batch extra": write(t, 0, []string{"a", "a", "b", "c"}),
		"a batch less":  write(t, 0, []string{"a", "c"}),
	} {
		t.Run(name, func(t *testing.T) {
			r, err := Compare([]string{a, b})
			if err != nil || len(r.Differences) != 1 {
				t.Fatalf("%+v, %v", r, err)
			}
		})
	}
}

func TestCompare_DamageIsNamed(t *testing.T) {
	a := write(t, 0, []string{"a", "b"})
	path := filepath.Join(a, "topic-0", fmt.Sprintf("%020d.log", 0))
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text[len(text)-2] ^= 1
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := Compare([]string{a, write(t, 0, []string{"a", "b"})})
	if err != nil || len(r.Damaged) != 1 || len(r.Differences) > 0 || r.Batches != 1 {
		t.Fatalf("%+v, %v", r, err)
	}
}
