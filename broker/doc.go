// Package broker serves Kafka's protocol: connections, one handler per API, the purgatory of waiting
// fetches, the partitions that run here and what Prometheus and the health checks see of them.
//
// # Main types
//
// [Broker] is made by [New], runs by [Broker.Run] and ends by [Broker.Close]. It sees the replicated
// logs through [Host] and [PartitionLog], and the cluster's metadata through [metadata.Machine].
//
// # Goroutines
//
// Each connection has two, a reader and a writer, both joined before Run returns. The reader takes
// frames into pooled, reference counted buffers and appends Produce requests in the order in which they
// arrive, without waiting for replication. The writer sends responses in the order of the requests, and
// carries out everything that is not Produce when its turn has come: a Fetch that waits holds back the
// answers behind it, not the appends.
//
// # Ownership
//
// The bytes of a Produce request belong to its buffer, which goes back to its pool when every
// append of the request has been answered.
//
// # What it does not do
//
// It knows nothing of segment files or Raft, and decides nothing about duplicates: the log does.
package broker
