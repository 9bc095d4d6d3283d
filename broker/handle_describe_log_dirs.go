package broker

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// DescribeLogDirs: v0-v5
//
// Behaviour: the replicas on this broker with their sizes, of all topics where none is named; what is not here is left out.
// A broker has one log directory. offset_lag is how many offsets a follower lacks of the high watermark that it knows.
//
// Version notes: v3 an error code for the request; v4 the disk's size and what is free of it; v5 whether the directory takes
// no new replicas, which does not happen.

func (k *call) describeLogDirs(req *kmsg.DescribeLogDirsRequest) kmsg.Response {
	resp := kmsg.NewPtrDescribeLogDirsResponse()
	dir := kmsg.NewDescribeLogDirsResponseDir()
	name, free, total, err := k.b.opts.Host.Disk()
	dir.Dir, dir.TotalBytes, dir.UsableBytes = name, total, free
	if err != nil {
		k.b.log.Warn("size of the disk", "error", err)
		dir.TotalBytes, dir.UsableBytes = -1, -1
	}
	wanted := map[string][]int32{}
	for i := range req.Topics {
		wanted[req.Topics[i].Topic] = append(wanted[req.Topics[i].Topic], req.Topics[i].Partitions...)
	}
	at := map[string]int{}
	for _, p := range k.b.partitions.running() {
		if req.Topics != nil && !slices.Contains(wanted[p.spec.Topic], p.index) {
			continue
		}
		log := p.open()
		if log == nil {
			continue
		}
		n, ok := at[p.spec.Topic]
		if !ok {
			n = len(dir.Topics)
			at[p.spec.Topic] = n
			dir.Topics = append(dir.Topics, kmsg.DescribeLogDirsResponseDirTopic{Topic: p.spec.Topic})
		}
		o := log.Offsets()
		out := kmsg.NewDescribeLogDirsResponseDirTopicPartition()
		out.Partition, out.Size, out.OffsetLag = p.index, log.Size(), max(int64(o.HighWatermark-o.LogEnd), 0)
		dir.Topics[n].Partitions = append(dir.Topics[n].Partitions, out)
	}
	resp.Dirs = []kmsg.DescribeLogDirsResponseDir{dir}
	return resp
}
