// Package group is the state of consumer groups as pure state machines: no sockets, no goroutines, no clock, no log.
//
// # Main types
//
// A Coordinator is the state of one partition of __consumer_offsets: all groups whose ids hash to it, their members and
// their committed offsets. Records are Kafka's, so that foreign tools read the topic.
//
//   - Replay applies one committed record: that is how a replica that does not lead follows, and how state is loaded.
//   - Lead begins to answer; Resign ends it and goes back to what the records say.
//   - Handle carries out one request, Tick what has become due by NextDeadline. Both change the state at once,
//     speculatively: the next request sees it.
//   - Take returns what the calls since the last Take have made: the records to append, as one batch, and the answers to
//     send once they are committed. Answers without records of their own wait like the others: they may tell of what is
//     not committed yet.
//
// Who drives a Coordinator appends in the order of Take, sends the answers of a Take after its records and those of all
// earlier ones are committed, and throws the Coordinator away when an append has failed.
//
// # Rules
//
//   - A member is told its assignment only after the record with it is committed: no two members own a partition in one
//     generation, whoever leads.
//   - A commit is answered only after its record is committed, and a fetch sees every commit before it.
//
// # Goroutines
//
// None. A Coordinator belongs to one goroutine.
package group
