// Package workload writes unique values to the partitions of one topic and reads them back, over its own small
// client, and records everything in a history.
//
// The client is written for this purpose: it says "unknown" where it does not know, never resets a position,
// retries each batch of an idempotent producer for ever in its order, with several in flight, and encodes and
// checks record batches itself, so that it shares no code with the broker under test. Kafka's messages come from
// kmsg.
//
// Each producer and each consumer is one goroutine with one connection at a time; [Workload.Finish] joins them.
package workload
