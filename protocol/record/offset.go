package record

// Offset is a position in a partition: the number of a record, counted from 0. Bounds are half-open
// [from, to) unless a name says otherwise. It is never a Raft index.
type Offset int64

// LeaderEpoch is Kafka's partition leader epoch: it grows with every change of leadership and stands
// in each batch header. NoEpoch where none is known.
type LeaderEpoch int32

// NoEpoch is the wire's value for "no leader epoch known".
const NoEpoch LeaderEpoch = -1

// NoOffset is the wire's value for "no offset".
const NoOffset Offset = -1
