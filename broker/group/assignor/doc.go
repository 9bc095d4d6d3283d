// Package assignor distributes the partitions of the subscribed topics over the members of a consumer group
// (KIP-848): the server-side assignors of Kafka, "uniform" and "range".
//
// An [Assignor] is a pure function: the same members and topics give the same assignment. Whoever calls it keeps
// the order of the members stable or not; both assignors sort by member id (range: by instance id first).
//
// What both promise: every partition of a topic that at least one member subscribes to belongs to exactly one
// member, and that member subscribes to the topic. Like Kafka's since 4.0, neither looks at racks.
package assignor
