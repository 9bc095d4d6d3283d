package broker

import (
	"cmp"
	"slices"
	"strconv"
)

// topicSeries makes the series of single topics and partitions. Those of partitions come from their leader only, so that sums
// over brokers are right, and only while there are at most Config.PartitionMetricsMax partitions.
func (b *Broker) topicSeries(out *families) {
	receivedBytes := out.counter("topic_received_bytes_total", "Bytes of record batches appended.")
	receivedRecords := out.counter("topic_received_records_total", "Records appended.")
	sentBytes := out.counter("topic_sent_bytes_total", "Bytes of record batches sent to consumers.")
	sentRecords := out.counter("topic_sent_records_total", "Records in the batches sent to consumers.")
	start := out.gauge("partition_log_start_offset", "First offset that can be read.")
	end := out.gauge("partition_log_end_offset", "Offset that the next record gets.")
	hw := out.gauge("partition_high_watermark", "End of what consumers may read, exclusive.")
	leader := out.gauge("partition_leader_id", "Node that leads the partition.")
	isr := out.gauge("partition_in_sync_replicas", "Replicas that are in sync.")
	size := out.gauge("partition_size_bytes", "Bytes stored by the leader.")

	detail := b.opts.Metadata.Image().PartitionCount() <= b.opts.Config.PartitionMetricsMax
	topics := b.partitions.snapshot()
	slices.SortFunc(topics, func(a, b *localTopic) int { return cmp.Compare(a.name, b.name) })
	for _, t := range topics {
		one := labels("topic", t.name)
		receivedBytes.set(float64(t.metrics.receivedBytes.Load()), one)
		receivedRecords.set(float64(t.metrics.receivedRecords.Load()), one)
		sentBytes.set(float64(t.metrics.sentBytes.Load()), one)
		sentRecords.set(float64(t.metrics.sentRecords.Load()), one)
		if !detail {
			continue
		}
		for _, p := range *t.partitions.Load() {
			log := openLog(p)
			if log == nil {
				continue
			}
			l := log.Leadership()
			if !l.IsLeader {
				continue
			}
			o := log.Offsets()
			one := labels("partition", strconv.Itoa(int(p.index)), "topic", t.name)
			start.set(float64(o.LogStart), one)
			end.set(float64(o.LogEnd), one)
			hw.set(float64(o.HighWatermark), one)
			leader.set(float64(l.Leader), one)
			isr.set(float64(len(l.ISR)), one)
			size.set(float64(log.Size()), one)
		}
	}
}
