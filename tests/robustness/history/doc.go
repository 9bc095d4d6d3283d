// Package history records what clients did and saw, and judges whether a log behaved.
//
// Clients write unique values into the partitions of one topic and read them back by assignment; each
// completed operation becomes an [Op], kept in memory and as a line of JSON. [Check] then looks for every kind
// of wrong that Jepsen's Kafka workload (jepsen/tests/kafka.clj) looks for and that applies without
// transactions and groups, and for a few more that a log must not show: see [Rule].
//
// The result of a write is ok, fail (certainly not done) or unknown. Whoever does not know says unknown: a
// value that may or may not be there is no error, and one that is acknowledged must be there once.
//
// All checks together are linear in the length of the history but for one sort of the offsets. The package
// starts no goroutines.
package history
