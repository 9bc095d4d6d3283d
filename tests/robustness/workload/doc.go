// Package workload writes unique values to the partitions of one topic and reads them back, over its own small
// client, and records everything in a history.
//
// The client is written for this purpose: it says "unknown" where it does not know, never resets a position,
// retries each batch of an idempotent producer for ever in its order, with several in flight, and encodes and
// checks record batches itself, so that it shares no code with the broker under test. Kafka's messages come from
// kmsg.
//
// Where partitions are led a [Router] finds out: it asks every broker for Metadata ten times a second, and at once
// when a client meets an error, and takes hints from answers (KIP-951). The newest leader epoch wins. A client that
// waits for a broker which no longer answers moves to the new leader as soon as anybody names it: what is measured
// is the cluster, not the timeouts of a client.
//
// [Availability] keeps the times of acknowledgements: how long after a fault each partition took writes again.
//
// A producer is one goroutine, and two for each connection; a consumer is one goroutine for each partition.
// [Workload.Finish] joins them.
package workload
