package broker

import (
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/stelemq/stele/dledger"
	"github.com/stelemq/stele/protocol"
	"github.com/stelemq/stele/protocol/record"
)

// ListOffsets: v0-v11
//
// Behaviour: the offset of the first record at or after a time, or one of the special times: -1 latest
// (the high watermark; the last stable offset for read_committed), -2 earliest, -3 the record with the
// largest timestamp, -4 earliest on local disks, -5 latest in tiered storage, -6 earliest not yet
// uploaded to it. Nothing is tiered here: -5 and -6 find nothing, -4 is -2.
//
// Version notes: v0 answers a list; -3 from v7, -4 from v8, -5 from v9, -6 from v11, earlier
// UNSUPPORTED_VERSION for that partition, as for any other negative time.
//
// Not implemented: v0's list of segment boundaries holds the offset asked for only.

// Special timestamps.
const (
	timeLatest                = -1
	timeEarliest              = -2
	timeMax                   = -3
	timeEarliestLocal         = -4
	timeLatestTiered          = -5
	timeEarliestPendingUpload = -6
)

func (k *call) listOffsets(req *kmsg.ListOffsetsRequest) kmsg.Response {
	resp := kmsg.NewPtrListOffsetsResponse()
	duplicates := duplicatedPartitions(req)
	until := time.Now().Add(leaseWait)
	image := k.b.opts.Metadata.Image()
	for i := range req.Topics {
		rt := &req.Topics[i]
		t, code := k.b.topicNamed(image, rt.Topic)
		out := kmsg.NewListOffsetsResponseTopic()
		out.Topic = rt.Topic
		for j := range rt.Partitions {
			rp := &rt.Partitions[j]
			r := kmsg.NewListOffsetsResponseTopicPartition()
			r.Partition = rp.Partition
			r.Timestamp, r.Offset, r.LeaderEpoch = -1, -1, -1
			pcode := code
			if duplicates[topicPartition{rt.Topic, rp.Partition}] {
				pcode = protocol.InvalidRequest
			}
			if pcode == protocol.None {
				var l leading
				if l, pcode = k.b.lead(t, rp.Partition, rp.CurrentLeaderEpoch); pcode == protocol.None {
					pcode = k.listOffset(l, until, rp.Timestamp, req.IsolationLevel == 1, &r)
				}
			}
			if pcode != protocol.None {
				r.ErrorCode = k.code(pcode)
				r.Timestamp, r.Offset, r.LeaderEpoch = -1, -1, -1
			} else if req.Version == 0 && r.Offset >= 0 && rp.MaxNumOffsets > 0 {
				r.OldStyleOffsets = []int64{r.Offset}
			}
			out.Partitions = append(out.Partitions, r)
		}
		resp.Topics = append(resp.Topics, out)
	}
	return resp
}

type topicPartition struct {
	topic     string
	partition int32
}

// duplicatedPartitions finds partitions that a request names twice: they are refused.
func duplicatedPartitions(req *kmsg.ListOffsetsRequest) map[topicPartition]bool {
	var duplicates map[topicPartition]bool
	seen := map[topicPartition]bool{}
	for i := range req.Topics {
		for j := range req.Topics[i].Partitions {
			tp := topicPartition{req.Topics[i].Topic, req.Topics[i].Partitions[j].Partition}
			if seen[tp] {
				if duplicates == nil {
					duplicates = map[topicPartition]bool{}
				}
				duplicates[tp] = true
			}
			seen[tp] = true
		}
	}
	return duplicates
}

// listOffset looks one time up and fills r.
func (k *call) listOffset(l leading, until time.Time, timestamp int64, committed bool, r *kmsg.ListOffsetsResponseTopicPartition) protocol.Code {
	if timestamp < timeLatest && !k.knownTime(timestamp) {
		return protocol.UnsupportedVersion
	}
	if timestamp != timeEarliest && timestamp != timeEarliestLocal && !awaitLease(k.ctx, l.log, until) {
		return protocol.NotLeaderOrFollower
	}
	offsets := l.log.Offsets()
	bound := offsets.HighWatermark
	if committed {
		bound = offsets.LastStable
	}
	var found dledger.TimestampOffset
	var err error
	switch timestamp {
	case timeLatest:
		found = dledger.TimestampOffset{Timestamp: -1, Offset: bound, Epoch: l.leader.Epoch}
	case timeEarliest, timeEarliestLocal:
		found = dledger.TimestampOffset{Timestamp: -1, Offset: offsets.LogStart, Epoch: l.log.EpochAt(offsets.LogStart)}
	case timeLatestTiered, timeEarliestPendingUpload:
		found = dledger.TimestampOffset{Timestamp: -1, Offset: record.NoOffset, Epoch: record.NoEpoch}
	case timeMax:
		found, err = l.log.MaxTimestamp()
	default:
		found, err = l.log.OffsetForTimestamp(timestamp)
	}
	if err != nil {
		return k.b.logCode(err)
	}
	if timestamp >= 0 && found.Offset >= bound {
		return protocol.None // nothing that this reader may see
	}
	r.Timestamp, r.Offset, r.LeaderEpoch = found.Timestamp, int64(found.Offset), int32(found.Epoch)
	return protocol.None
}

func (k *call) knownTime(timestamp int64) bool {
	switch timestamp {
	case timeEarliest:
		return true
	case timeMax:
		return k.version >= 7
	case timeEarliestLocal:
		return k.version >= 8
	case timeLatestTiered:
		return k.version >= 9
	case timeEarliestPendingUpload:
		return k.version >= 11
	}
	return false
}
