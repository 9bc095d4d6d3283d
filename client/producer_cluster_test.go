package client

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestProducer_SyncThenOffsets(t *testing.T) {
	c := cluster(t, bootstrap(t))
	name := newTopic(t, c, 1, nil)
	p, err := c.NewProducer(ProducerOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close(t.Context()) //nolint:errcheck // nothing is left
	for i := range 5 {
		d, err := p.ProduceSync(t.Context(), &Record{Topic: name, Key: []byte("k"), Value: fmt.Append(nil, i)})
		if err != nil || d.Offset != int64(i) || d.Partition != 0 {
			t.Fatalf("record %d: %+v, %v", i, d, err)
		}
	}
	ends, err := c.Offsets(t.Context(), name, End())
	if err != nil || ends[0] != 5 {
		t.Fatalf("ends %v, %v", ends, err)
	}
}

// TestProducer_FaultyNetwork produces numbered records through connections
// that break all the time, and reads them back: each is there once, in order.
func TestProducer_FaultyNetwork(t *testing.T) {
	addr := bootstrap(t)
	direct := cluster(t, addr)
	k, err := direct.Cluster(t.Context())
	if err != nil || len(k.Brokers) != 1 {
		t.Skip("needs a cluster of one broker")
	}
	const partitions, perPartition = 3, 5_000
	name := newTopic(t, direct, partitions, nil)
	proxy := newFaultProxy(t, k.Brokers[0].Addr(), uint64(time.Now().UnixNano()))
	c := cluster(t, addr, proxy.through)
	p, err := c.NewProducer(ProducerOptions{Partitioner: ByRecord, BatchBytes: 1 << 10, RequestTimeout: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	acked := make([][]int64, partitions)
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	defer cancel()
	for i := range perPartition {
		if i == 100 {
			proxy.setRate(0.1)
		}
		for part := range int32(partitions) {
			err := p.Produce(ctx, &Record{Topic: name, Partition: part, Value: fmt.Appendf(nil, "%d", i)}, func(d Delivery) {
				mu.Lock()
				defer mu.Unlock()
				if d.Err != nil {
					t.Errorf("record %d of partition %d: %v", i, part, d.Err)
				}
				acked[part] = append(acked[part], d.Offset)
			})
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := p.Close(ctx); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d cuts", proxy.cutCount())
	unknown := 0
	for part, offsets := range acked {
		for i, o := range offsets {
			if o == -1 {
				unknown++
			} else if o != int64(i) {
				t.Fatalf("partition %d: record %d was acknowledged at offset %d", part, i, o)
			}
		}
	}
	t.Logf("%d records with an unknown offset", unknown)
	ends, err := direct.Offsets(t.Context(), name, End())
	if err != nil {
		t.Fatal(err)
	}
	for part, end := range ends {
		if end != perPartition {
			t.Errorf("partition %d ends at %d, not at %d", part, end, perPartition)
		}
	}
	kcat, err := exec.LookPath("kcat")
	if err != nil {
		return
	}
	for part := range partitions {
		out, err := exec.CommandContext(t.Context(), kcat, "-q", "-C", "-b", addr,
			"-t", name, "-p", fmt.Sprint(part), "-o", "beginning", "-e").Output()
		if err != nil {
			t.Fatal(err)
		}
		for i, line := range strings.Fields(string(out)) {
			if line != fmt.Sprint(i) {
				t.Fatalf("partition %d: line %d is %q", part, i, line)
			}
		}
	}
}
