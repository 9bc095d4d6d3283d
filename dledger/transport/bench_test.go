package transport

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"sync/atomic"
	"testing"

	"github.com/lni/dragonboat/v4/config"
	"github.com/lni/dragonboat/v4/raftio"
	pb "github.com/lni/dragonboat/v4/raftpb"
)

// benchPair is two transports; what the first sends is handed to got on the second.
func benchPair(b *testing.B, got raftio.MessageHandler) raftio.IConnection {
	b.Helper()
	var ts [2]*Transport
	var ends [2]raftio.ITransport
	target := func(n int32) string { return fmt.Sprint(n) }
	nodeOf := func(s string) (n int32, ok bool) { _, err := fmt.Sscan(s, &n); return n, err == nil }
	for i := range ts {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			b.Fatal(err)
		}
		ts[i] = New(Config{NodeID: int32(i + 1), Listener: l, Logger: slog.New(slog.DiscardHandler)})
		ts[i].SetClusterID("c")
		f := &Factory{T: ts[i], Observer: passAll{}, Target: target, NodeOf: nodeOf, Covers: func(*pb.Message, *pb.Entry) bool { return true }}
		handle := got
		if i == 0 {
			handle = func(pb.MessageBatch) {}
		}
		ends[i] = f.Create(config.NodeHostConfig{}, handle, func(pb.Chunk) bool { return false })
		if err := ends[i].Start(); err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = ends[i].Close(); _ = ts[i].Close() })
	}
	ts[0].SetAddress(2, ts[1].Addr().String())
	c, err := ends[0].GetConnection(context.Background(), "2")
	if err != nil {
		b.Fatal(err)
	}
	return c
}

// BenchmarkLane_Commands sends commands of a size in messages of one entry, a bounded number of bytes ahead of what has arrived.
func BenchmarkLane_Commands(b *testing.B) {
	for _, size := range []int{1 << 10, 16 << 10, 1 << 20} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			const ahead = 8 << 20
			var arrived atomic.Int64
			wake := make(chan struct{}, 1)
			conn := benchPair(b, func(m pb.MessageBatch) {
				arrived.Add(int64(len(m.Requests)))
				select {
				case wake <- struct{}{}:
				default:
				}
			})
			cmd := make([]byte, size)
			entries := []pb.Entry{{Term: 3, Type: pb.EncodedEntry, Key: 1 << 60, ClientID: 3 << 32, Cmd: cmd}}
			batch := pb.MessageBatch{Requests: make([]pb.Message, 1)}
			b.SetBytes(int64(size))
			b.ReportAllocs()
			b.ResetTimer()
			for sent := range int64(b.N) {
				for (sent-arrived.Load())*int64(size) > ahead {
					<-wake
				}
				entries[0].Index = uint64(sent)
				batch.Requests[0] = pb.Message{Type: pb.Replicate, To: 2, From: 1, ShardID: 100, Term: 3, LogTerm: 3, LogIndex: uint64(sent), Entries: entries}
				if err := conn.SendMessageBatch(batch); err != nil {
					b.Fatal(err)
				}
			}
			for arrived.Load() < int64(b.N) {
				<-wake
			}
		})
	}
}

// BenchmarkLane_Heartbeats sends the heartbeats of a thousand groups; an operation is one message.
func BenchmarkLane_Heartbeats(b *testing.B) {
	const groups = 1000
	var arrived atomic.Int64
	wake := make(chan struct{}, 1)
	conn := benchPair(b, func(m pb.MessageBatch) {
		arrived.Add(int64(len(m.Requests)))
		select {
		case wake <- struct{}{}:
		default:
		}
	})
	batch := pb.MessageBatch{Requests: make([]pb.Message, groups)}
	for i := range batch.Requests {
		batch.Requests[i] = pb.Message{Type: pb.Heartbeat, To: 2, From: 1, ShardID: uint64(i + 16), Term: 3, Commit: 123456}
	}
	b.ReportAllocs()
	b.ResetTimer()
	for sent := 0; sent < b.N; sent += groups {
		if err := conn.SendMessageBatch(batch); err != nil {
			b.Fatal(err)
		}
		for arrived.Load() < int64(sent-20*groups) {
			<-wake
		}
	}
	for arrived.Load() < int64(b.N/groups*groups) {
		<-wake
	}
}
