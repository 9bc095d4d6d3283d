package dledger

import (
	"math"
	_ "unsafe" // for go:linkname
)

// dragonboat sizes each replica's queues for a process with a few busy groups: 1.2 MiB of heap a replica. It can be told
// otherwise only by a JSON file in the working directory of the process, which it reads before main. Its variables are
// set here instead. Were one renamed upstream, the name here would be a variable of nobody: TestSoftSettings notices.
//
//go:linkname dbProposalQueue github.com/lni/dragonboat/v4.incomingProposalsMaxLen
//go:linkname dbReadIndexQueue github.com/lni/dragonboat/v4.incomingReadIndexMaxLen
//go:linkname dbReceiveQueue github.com/lni/dragonboat/v4.receiveQueueLen
//go:linkname dbProposalShards github.com/lni/dragonboat/v4.pendingProposalShards
//go:linkname dbEntrySlice github.com/lni/dragonboat/v4/internal/raft.entrySliceSize
//go:linkname dbMinEntrySlice github.com/lni/dragonboat/v4/internal/raft.minEntrySliceSize
//go:linkname dbMessageBytes github.com/lni/dragonboat/v4/internal/raft.maxEntrySize
//go:linkname dbSyncEvery github.com/lni/dragonboat/v4.syncTaskInterval
//go:linkname dbShrinkTicks github.com/lni/dragonboat/v4/internal/raft.inMemGcTimeout
//nolint:gochecknoglobals // dragonboat's
var (
	dbProposalQueue  uint64 // proposals of a replica that wait for its step worker; admission lets through fewer
	dbReadIndexQueue uint64 // of no use to partitions; the metadata group asks for its membership by it
	dbReceiveQueue   uint64 // messages of a replica that wait for its step worker; what comes beyond is dropped
	dbProposalShards uint64 // locks over the proposals in progress of a replica
	dbEntrySlice     uint64 // entries for which a replica reserves room in memory
	dbMinEntrySlice  uint64
	dbSyncEvery      uint64 // milliseconds of ticks between syncs of a state machine; partitions' do nothing
	dbShrinkTicks    uint64 // ticks after which a replica lets go of the newest entries that it does not need any more
	dbMessageBytes   uint64 // entries in one message to a replica that is behind
)

func init() { //nolint:gochecknoinits // before the first host, once
	dbProposalQueue, dbReadIndexQueue, dbReceiveQueue = 256, 64, 512
	dbProposalShards = 2
	dbEntrySlice, dbMinEntrySlice = 64, 16
	dbMessageBytes = 4 << 20
	dbSyncEvery, dbShrinkTicks = math.MaxUint64, housekeepingTicks
}
