package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"log/slog"
	"net"
	"os"
	"runtime/pprof"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/stelemq/stele/dledger"
	"github.com/stelemq/stele/dledger/transport"
	"github.com/stelemq/stele/protocol/record"
)

// firstShard is the first partition's.
const firstShard = 16

type noMetadata struct{}

func (noMetadata) Apply(dledger.Index, []byte) []byte { return nil }
func (noMetadata) Snapshot() ([]byte, error)          { return nil, nil }
func (noMetadata) Restore([]byte) error               { return nil }

// process is one node.
type process struct {
	o     *options
	host  *dledger.Host
	parts []*dledger.Partition
}

func (o *options) node() error {
	n := &process{o: o}
	if err := n.open(); err != nil {
		return err
	}
	n.awaitLeaders()
	fmt.Println("LED")
	commands := bufio.NewScanner(os.Stdin)
	for commands.Scan() {
		f := strings.Fields(commands.Text())
		switch f[0] {
		case "run":
			size, _ := strconv.Atoi(f[1])
			n.load(size)
		case "rest":
			d, _ := time.ParseDuration(f[1])
			n.rest(d)
		case "watch":
			go n.watch()
		}
	}
	return nil
}

func (n *process) open() error {
	o := n.o
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", o.port+o.child)) //nolint:noctx // closed with the transport
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	logger := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})).With("node", o.child)
	t := transport.New(transport.Config{NodeID: int32(o.child), Listener: l, Logger: logger}) //nolint:gosec // small
	t.SetClusterID("bench")
	members := map[dledger.ReplicaID]int32{}
	for i := 1; i <= o.nodes; i++ {
		t.SetAddress(int32(i), fmt.Sprintf("127.0.0.1:%d", o.port+i)) //nolint:gosec // small
		members[dledger.ReplicaID(i)] = int32(i)                      //nolint:gosec // small
	}
	n.host, err = dledger.Open(context.Background(), dledger.Options{
		Dir: o.nodeDir(), NodeID: int32(o.child), Transport: t, Logger: logger, StateMachine: noMetadata{}, //nolint:gosec // small
		Metadata: dledger.MetadataSpec{Replica: dledger.ReplicaID(o.child), Founders: members}, //nolint:gosec // small
		Fatal:    func(err error) { panic(err) },
	})
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	flush := int64(1 << 60)
	if o.durable {
		flush = 1
	}
	n.parts = make([]*dledger.Partition, o.partitions)
	var wg sync.WaitGroup
	slots := make(chan struct{}, 8)
	errs := make([]error, o.partitions)
	for i := range n.parts {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			spec := dledger.PartitionSpec{
				Topic: "bench", Partition: int32(i), Shard: dledger.ShardID(firstShard + i), //nolint:gosec // small
				Replica: dledger.ReplicaID((o.child-1+o.nodes-i%o.nodes)%o.nodes + 1), Members: map[dledger.ReplicaID]int32{}, //nolint:gosec // small
				Config: dledger.LogConfig{FlushMessages: flush, SegmentBytes: o.segmentBytes()},
			}
			for k := range o.nodes {
				spec.Members[dledger.ReplicaID(k+1)] = int32((i+k)%o.nodes + 1) //nolint:gosec // small
			}
			n.parts[i], errs[i] = n.host.StartPartition(context.Background(), spec)
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// segmentBytes is small if much is to be deleted.
func (o *options) segmentBytes() int64 {
	if o.keepMiB > 0 {
		return max(16, o.keepMiB/2) << 20
	}
	return 1 << 30
}

// trim moves the log starts of the led partitions after their ends, until ctx ends.
func (n *process) trim(ctx context.Context, recordBytes int64) {
	if n.o.keepMiB == 0 {
		return
	}
	for ctx.Err() == nil {
		for _, p := range n.led() {
			start := p.Offsets().HighWatermark - record.Offset(n.o.keepMiB<<20/recordBytes)
			if start > 0 {
				_ = p.AdvanceLogStart(ctx, start) // if it leads no more, another does it
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
}

// awaitLeaders waits until every partition has a leader known here.
func (n *process) awaitLeaders() {
	for _, p := range n.parts {
		for p.Leadership().Leader < 0 {
			time.Sleep(time.Millisecond)
		}
	}
}

func (n *process) led() []*dledger.Partition {
	var out []*dledger.Partition
	for _, p := range n.parts {
		if p.Leadership().IsLeader {
			out = append(out, p)
		}
	}
	return out
}

func (n *process) epochs() (sum int64) {
	for _, p := range n.parts {
		sum += int64(p.Leadership().Epoch)
	}
	return sum
}

// inFlight is how many batches are in flight over all partitions: fewer where they are large.
func inFlight(size int) int {
	switch {
	case size >= 1<<20:
		return 16
	case size >= 128<<10:
		return 48
	case size >= 16<<10:
		return 128
	}
	return 256
}

func (n *process) load(size int) {
	defer n.profile(strconv.Itoa(size))()
	batch := batchOf(size)
	each := max(1, inFlight(size)/n.o.partitions)
	epochs, cpu := n.epochs(), processCPU()
	end := time.Now().Add(n.o.duration)
	var mu sync.Mutex
	var latencies []time.Duration
	var wg sync.WaitGroup
	ctx, cancel := context.WithDeadline(context.Background(), end)
	defer cancel()
	go n.trim(ctx, int64(size/recordsPerBatch))
	for _, p := range n.led() {
		for range each {
			wg.Go(func() {
				var mine []time.Duration
				done := make(chan dledger.AppendResult, 1)
				r := &dledger.AppendRequest{Batch: batch, Acks: dledger.AcksAll, Timeout: 10 * time.Second, Done: func(r dledger.AppendResult) { done <- r }}
				for began := time.Now(); began.Before(end); began = time.Now() {
					if p.Append(context.Background(), r) != nil || (<-done).Err != nil {
						time.Sleep(10 * time.Millisecond)
						continue
					}
					mine = append(mine, time.Since(began))
				}
				mu.Lock()
				latencies = append(latencies, mine...)
				mu.Unlock()
			})
		}
	}
	wg.Wait()
	time.Sleep(time.Until(end))
	slices.Sort(latencies)
	at := func(q float64) float64 {
		if len(latencies) == 0 {
			return 0
		}
		return latencies[int(float64(len(latencies)-1)*q)].Seconds() * 1e3
	}
	fmt.Printf("DONE %d %.3f %.3f %.3f %d\n", len(latencies)*size, at(0.5), at(0.99), (processCPU()-cpu).Seconds()*1e3, n.epochs()-epochs)
}

// profile writes a CPU profile to $STELE_PROFILE.<node>.<what>, if that is set, until the function it returns is called.
func (n *process) profile(what string) (stop func()) {
	name := os.Getenv("STELE_PROFILE")
	if name == "" {
		return func() {}
	}
	f, err := os.Create(fmt.Sprintf("%s.%d.%s", name, n.o.child, what)) //nolint:gosec // the user's own
	if err != nil || pprof.StartCPUProfile(f) != nil {
		return func() {}
	}
	return pprof.StopCPUProfile
}

func (n *process) rest(d time.Duration) {
	time.Sleep(2 * time.Second)
	defer n.profile("rest")()
	cpu := processCPU()
	time.Sleep(d)
	used := processCPU() - cpu
	fmt.Printf("REST %.3f %d\n", used.Seconds()/d.Seconds(), residentMiB())
}

// watch says so when this process leads the first partition, and when it has committed something as a new leader.
func (n *process) watch() {
	p := n.parts[0]
	if p.Leadership().IsLeader {
		fmt.Println("LEADS", n.o.child-1)
		return
	}
	batch := batchOf(200)
	done := make(chan dledger.AppendResult, 1)
	r := &dledger.AppendRequest{Batch: batch, Acks: dledger.AcksAll, Timeout: time.Second, Done: func(r dledger.AppendResult) { done <- r }}
	for range 20_000 {
		if p.Leadership().IsLeader && p.Append(context.Background(), r) == nil && (<-done).Err == nil {
			fmt.Println("COMMITTED", n.o.child-1)
			return
		}
		time.Sleep(time.Millisecond)
	}
}

func processCPU() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func residentMiB() int64 {
	b, _ := os.ReadFile("/proc/self/status")
	for line := range bytes.SplitSeq(b, []byte("\n")) {
		if v, ok := bytes.CutPrefix(line, []byte("VmRSS:")); ok {
			kb, _ := strconv.ParseInt(strings.Fields(string(v))[0], 10, 64)
			return kb >> 10
		}
	}
	return 0
}

const recordsPerBatch = 10

// batchOf is a record batch of about so many bytes whose records nobody parses.
func batchOf(size int) record.Batch {
	b := make([]byte, max(size, record.HeaderLen))
	be := binary.BigEndian
	be.PutUint32(b[8:], uint32(len(b)-12)) //nolint:gosec // small
	b[16] = 2
	be.PutUint32(b[23:], recordsPerBatch-1)
	be.PutUint64(b[43:], ^uint64(0))
	be.PutUint16(b[51:], ^uint16(0))
	be.PutUint32(b[53:], ^uint32(0))
	be.PutUint32(b[57:], recordsPerBatch)
	for i := record.HeaderLen; i < len(b); i++ {
		b[i] = byte(i * 7)
	}
	be.PutUint32(b[17:], crc32.Checksum(b[21:], crc32.MakeTable(crc32.Castagnoli)))
	return b
}
