package dledger

import (
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/lni/dragonboat/v4/logger"
	"github.com/lni/dragonboat/v4/raftio"
)

// unloadEvents tells when dragonboat has let go of a shard.
type unloadEvents struct {
	mu sync.Mutex
	// mu guards:
	waiting map[ShardID]chan struct{}
	// alone are shards that were unloaded without anybody's waiting: dragonboat stops a replica that was removed.
	alone map[ShardID]struct{}
}

var _ raftio.ISystemEventListener = (*unloadEvents)(nil)

func newUnloadEvents() *unloadEvents {
	return &unloadEvents{waiting: make(map[ShardID]chan struct{}), alone: make(map[ShardID]struct{})}
}

// await returns a channel that is closed when the shard is unloaded. Call it before stopping the shard.
func (u *unloadEvents) await(s ShardID) <-chan struct{} {
	u.mu.Lock()
	defer u.mu.Unlock()
	ch := make(chan struct{})
	if _, gone := u.alone[s]; gone {
		delete(u.alone, s)
		close(ch)
		return ch
	}
	u.waiting[s] = ch
	return ch
}

// begin forgets that a shard was ever unloaded.
func (u *unloadEvents) begin(s ShardID) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.alone, s)
}

func (u *unloadEvents) NodeUnloaded(i raftio.NodeInfo) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if ch := u.waiting[ShardID(i.ShardID)]; ch != nil {
		close(ch)
		delete(u.waiting, ShardID(i.ShardID))
		return
	}
	u.alone[ShardID(i.ShardID)] = struct{}{}
}

func (u *unloadEvents) NodeHostShuttingDown()                       {}
func (u *unloadEvents) NodeDeleted(raftio.NodeInfo)                 {}
func (u *unloadEvents) NodeReady(raftio.NodeInfo)                   {}
func (u *unloadEvents) MembershipChanged(raftio.NodeInfo)           {}
func (u *unloadEvents) ConnectionEstablished(raftio.ConnectionInfo) {}
func (u *unloadEvents) ConnectionFailed(raftio.ConnectionInfo)      {}
func (u *unloadEvents) SendSnapshotStarted(raftio.SnapshotInfo)     {}
func (u *unloadEvents) SendSnapshotCompleted(raftio.SnapshotInfo)   {}
func (u *unloadEvents) SendSnapshotAborted(raftio.SnapshotInfo)     {}
func (u *unloadEvents) SnapshotReceived(raftio.SnapshotInfo)        {}
func (u *unloadEvents) SnapshotRecovered(raftio.SnapshotInfo)       {}
func (u *unloadEvents) SnapshotCreated(raftio.SnapshotInfo)         {}
func (u *unloadEvents) SnapshotCompacted(raftio.SnapshotInfo)       {}
func (u *unloadEvents) LogCompacted(raftio.EntryInfo)               {}
func (u *unloadEvents) LogDBCompacted(raftio.EntryInfo)             {}

// dragonboat logs through one factory per process, settable once; its warnings go to the logger of the host that was
// opened last.
//
//nolint:gochecknoglobals // dragonboat's own are global
var (
	raftLogger     atomic.Pointer[slog.Logger]
	raftLoggerOnce sync.Once
)

func bridgeLogs(l *slog.Logger) {
	raftLogger.Store(l)
	raftLoggerOnce.Do(func() {
		logger.SetLoggerFactory(func(name string) logger.ILogger { return raftLog{name} })
	})
}

// raftLog passes warnings and errors on. What dragonboat calls information is of no use to an operator; its
// warnings are about elections, mostly, so they are ours to debug.
type raftLog struct{ name string }

func (raftLog) SetLevel(logger.LogLevel) {}
func (raftLog) Debugf(string, ...any)    {}
func (raftLog) Infof(string, ...any)     {}
func (r raftLog) Warningf(f string, a ...any) {
	raftLogger.Load().Debug("raft", "module", r.name, "message", fmt.Sprintf(f, a...))
}

func (r raftLog) Errorf(f string, a ...any) {
	raftLogger.Load().Warn("raft", "module", r.name, "message", fmt.Sprintf(f, a...))
}

// Panicf ends the goroutine and with it the process: dragonboat has met what must not happen.
func (r raftLog) Panicf(f string, a ...any) { panic(r.name + ": " + fmt.Sprintf(f, a...)) }
