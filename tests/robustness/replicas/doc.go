// Package replicas compares what the replicas of partitions have on disk, after the brokers have stopped: the same
// record batches, byte for byte. Where segments are cut may differ, and so may where logs begin and end.
package replicas
