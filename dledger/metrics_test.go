package dledger

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

// counters gathers the counters of a registry by name and label value.
func counters(t *testing.T, r *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if c := m.GetCounter(); c != nil {
				name := f.GetName()
				for _, l := range m.GetLabel() {
					name += " " + l.GetValue()
				}
				out[name] = c.GetValue()
			}
		}
	}
	return out
}

func TestMetrics_ReadsAndDeletedSegments(t *testing.T) {
	registry := prometheus.NewRegistry()
	h, ps := startHost(t, t.TempDir(), 1, 1, Options{Registerer: registry})
	defer closeHost(t, h)
	appendN(t, ps[0], 0, 3)
	if _, known := counters(t, registry)["stele_storage_segments_deleted_total topic_deleted"]; !known {
		t.Error("the counter of deleted segments is not there from the start")
	}
	b, _, err := ps[0].Read(nil, ReadRequest{From: 0, MaxBytes: 1 << 20})
	if err != nil || len(b) == 0 {
		t.Fatal(len(b), err)
	}
	if err := h.DeletePartition(ps[0].Spec()); err != nil {
		t.Fatal(err)
	}
	got := counters(t, registry)
	if n := got["stele_storage_read_bytes_total disk"]; n != float64(len(b)) {
		t.Errorf("%v bytes read, want %d", n, len(b))
	}
	if n := got["stele_storage_segments_deleted_total topic_deleted"]; n != 1 {
		t.Errorf("%v segments deleted", n)
	}
}
