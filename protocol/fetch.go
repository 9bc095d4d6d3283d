package protocol

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"
	"net"

	"github.com/stelemq/stele/protocol/record"
)

// Lowest and highest versions of Fetch that FetchResponse writes.
const (
	FetchMin = 4
	FetchMax = 18
)

// First versions of what a Fetch response got over time.
const (
	fetchLogStart      = 5
	fetchSessions      = 7
	fetchReplica       = 11
	fetchFlexible      = 12
	fetchTopicIDs      = 13
	fetchNodeEndpoints = 16
)

// Tags of a Fetch response.
const (
	tagDivergingEpoch = 0
	tagCurrentLeader  = 1
	tagNodeEndpoints  = 0
)

// FetchResponse is a response to Fetch, v4-v18. What a version does not have is left out.
type FetchResponse struct {
	ThrottleMillis int32
	ErrorCode      Code  // v7+
	SessionID      int32 // v7+
	Topics         []FetchTopic
	NodeEndpoints  []NodeEndpoint // v16+: of the leaders named in CurrentLeader
}

// FetchTopic is a topic of a FetchResponse.
type FetchTopic struct {
	Name       string   // v4-v12
	TopicID    [16]byte // v13+
	Partitions []FetchPartition
}

// FetchPartition is a partition of a FetchTopic. NewFetchPartition makes one with the values that mean "none".
type FetchPartition struct {
	Partition        int32
	ErrorCode        Code
	HighWatermark    record.Offset
	LastStableOffset record.Offset
	LogStartOffset   record.Offset // v5+
	// AbortedTransactions is nil for readers of uncommitted records, which is null on the wire.
	AbortedTransactions  []AbortedTransaction
	PreferredReadReplica int32           // v11+; -1 if none
	DivergingEpoch       *EpochEndOffset // v12+; nil if none
	CurrentLeader        *LeaderIDEpoch  // v12+; nil if not to be told
	// Records are whole batches back to back, not copied. Nil is sent as no bytes, never as null.
	Records []byte
}

// NewFetchPartition is a partition without records and with -1 for all that is not known, as in an answer with an error.
func NewFetchPartition(partition int32, code Code) FetchPartition {
	return FetchPartition{
		Partition: partition, ErrorCode: code, HighWatermark: record.NoOffset, LastStableOffset: record.NoOffset,
		LogStartOffset: record.NoOffset, PreferredReadReplica: -1,
	}
}

// AbortedTransaction tells a reader of committed records whose records to skip, and from which offset on.
type AbortedTransaction struct {
	ProducerID  int64
	FirstOffset record.Offset
}

// EpochEndOffset says where an epoch ends: the largest epoch known to both sides (KIP-595).
type EpochEndOffset struct {
	Epoch     record.LeaderEpoch
	EndOffset record.Offset
}

// LeaderIDEpoch names a partition's leader (KIP-951).
type LeaderIDEpoch struct {
	LeaderID    int32
	LeaderEpoch record.LeaderEpoch
}

// NodeEndpoint is the address of a broker (KIP-951).
type NodeEndpoint struct {
	NodeID int32
	Host   string
	Port   int32
	Rack   *string // nil if none
}

// AppendBuffers appends the frame of the response, its length included, to dst: buffers in the order in which they are
// to be written. Records alias the response's; all else is appended to scratch, which is returned for the next use when the
// buffers have been written.
//
// Errors: ErrUnsupportedVersion, ErrTooLarge (a frame of 2 GiB).
func (r *FetchResponse) AppendBuffers(dst net.Buffers, scratch []byte, version int16, correlationID int32) (net.Buffers, []byte, error) {
	if version < FetchMin || version > FetchMax {
		return dst, scratch, fmt.Errorf("%w: Fetch v%d", ErrUnsupportedVersion, version)
	}
	w := fetchWriter{out: scratch, dst: dst, version: version, flexible: version >= fetchFlexible, start: len(scratch)}
	first := len(scratch)
	w.out = append(w.out, 0, 0, 0, 0)
	w.out = AppendResponseHeader(w.out, KeyFetch, version, correlationID)
	w.response(r)
	size := int64(len(w.out)-first-FramePrefixLen) + w.records
	if size > math.MaxInt32 {
		return dst, scratch, fmt.Errorf("%w: response of %d bytes", ErrTooLarge, size)
	}
	w.flush()
	binary.BigEndian.PutUint32(w.head, uint32(size))
	return w.dst, w.out, nil
}

// fetchWriter collects the buffers of a response.
type fetchWriter struct {
	dst      net.Buffers
	out      []byte // what is not records
	start    int    // where in out the bytes begin that are not yet in dst
	head     []byte // the frame's length, once it is in dst
	records  int64  // bytes of records so far
	version  int16
	flexible bool
}

// flush makes a buffer of what was written since the last one. If out grows later, it still holds the bytes.
func (w *fetchWriter) flush() {
	p := w.out[w.start:len(w.out):len(w.out)]
	if w.head == nil {
		w.head = p
	}
	if len(p) > 0 {
		w.dst = append(w.dst, p)
	}
	w.start = len(w.out)
}

func (w *fetchWriter) int16(v int16) { w.out = binary.BigEndian.AppendUint16(w.out, uint16(v)) }
func (w *fetchWriter) int32(v int32) { w.out = binary.BigEndian.AppendUint32(w.out, uint32(v)) }
func (w *fetchWriter) int64(v int64) { w.out = binary.BigEndian.AppendUint64(w.out, uint64(v)) }

func (w *fetchWriter) offset(v record.Offset) { w.int64(int64(v)) }

func (w *fetchWriter) uvarint(v uint32) { w.out = binary.AppendUvarint(w.out, uint64(v)) }

// array writes the length of an array, of bytes too; -1 is null.
func (w *fetchWriter) array(n int) {
	if w.flexible {
		w.uvarint(uint32(n + 1))
		return
	}
	w.int32(int32(n))
}

func (w *fetchWriter) string(s string) {
	if w.flexible {
		w.uvarint(uint32(len(s) + 1))
	} else {
		w.int16(int16(len(s)))
	}
	w.out = append(w.out, s...)
}

func (w *fetchWriter) tags(n uint32) {
	if w.flexible {
		w.uvarint(n)
	}
}

func (w *fetchWriter) response(r *FetchResponse) {
	w.int32(r.ThrottleMillis)
	if w.version >= fetchSessions {
		w.int16(int16(r.ErrorCode))
		w.int32(r.SessionID)
	}
	w.array(len(r.Topics))
	for i := range r.Topics {
		w.topic(&r.Topics[i])
	}
	if w.version < fetchNodeEndpoints || len(r.NodeEndpoints) == 0 {
		w.tags(0)
		return
	}
	w.tags(1)
	w.uvarint(tagNodeEndpoints)
	w.uvarint(uint32(endpointsLen(r.NodeEndpoints)))
	w.array(len(r.NodeEndpoints))
	for i := range r.NodeEndpoints {
		w.endpoint(&r.NodeEndpoints[i])
	}
}

func (w *fetchWriter) topic(t *FetchTopic) {
	if w.version >= fetchTopicIDs {
		w.out = append(w.out, t.TopicID[:]...)
	} else {
		w.string(t.Name)
	}
	w.array(len(t.Partitions))
	for i := range t.Partitions {
		w.partition(&t.Partitions[i])
	}
	w.tags(0)
}

func (w *fetchWriter) partition(p *FetchPartition) {
	w.int32(p.Partition)
	w.int16(int16(p.ErrorCode))
	w.offset(p.HighWatermark)
	w.offset(p.LastStableOffset)
	if w.version >= fetchLogStart {
		w.offset(p.LogStartOffset)
	}
	if p.AbortedTransactions == nil {
		w.array(-1)
	} else {
		w.array(len(p.AbortedTransactions))
	}
	for _, a := range p.AbortedTransactions {
		w.int64(a.ProducerID)
		w.offset(a.FirstOffset)
		w.tags(0)
	}
	if w.version >= fetchReplica {
		w.int32(p.PreferredReadReplica)
	}
	w.array(len(p.Records))
	if len(p.Records) > 0 {
		w.flush()
		w.dst = append(w.dst, p.Records)
		w.records += int64(len(p.Records))
	}
	if w.flexible {
		w.partitionTags(p)
	}
}

// partitionTags writes the tagged fields of a partition that differ from their defaults.
func (w *fetchWriter) partitionTags(p *FetchPartition) {
	diverging := p.DivergingEpoch != nil && *p.DivergingEpoch != EpochEndOffset{record.NoEpoch, record.NoOffset}
	leader := p.CurrentLeader != nil && *p.CurrentLeader != LeaderIDEpoch{-1, record.NoEpoch}
	n := uint32(0)
	for _, set := range [...]bool{diverging, leader} {
		if set {
			n++
		}
	}
	w.tags(n)
	if diverging {
		w.uvarint(tagDivergingEpoch)
		w.uvarint(4 + 8 + 1)
		w.int32(int32(p.DivergingEpoch.Epoch))
		w.offset(p.DivergingEpoch.EndOffset)
		w.tags(0)
	}
	if leader {
		w.uvarint(tagCurrentLeader)
		w.uvarint(4 + 4 + 1)
		w.int32(p.CurrentLeader.LeaderID)
		w.int32(int32(p.CurrentLeader.LeaderEpoch))
		w.tags(0)
	}
}

func (w *fetchWriter) endpoint(e *NodeEndpoint) {
	w.int32(e.NodeID)
	w.string(e.Host)
	w.int32(e.Port)
	if e.Rack == nil {
		w.uvarint(0)
	} else {
		w.string(*e.Rack)
	}
	w.tags(0)
}

// endpointsLen is the length of the tag's value; only flexible versions have it.
func endpointsLen(all []NodeEndpoint) int {
	n := uvarintLen(len(all) + 1)
	for _, e := range all {
		n += 4 + uvarintLen(len(e.Host)+1) + len(e.Host) + 4 + 1 + 1
		if e.Rack != nil {
			n += uvarintLen(len(*e.Rack)+1) - 1 + len(*e.Rack)
		}
	}
	return n
}

func uvarintLen(n int) int { return (bits.Len(uint(n)|1) + 6) / 7 }
