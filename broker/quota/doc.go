// Package quota decides how long a client must be left alone that has used more than it may: bytes produced, bytes fetched,
// and the time that its requests take. It is pure: time is passed in; it starts no goroutine, opens no socket.
//
// A [Table] knows what is allowed, to whom (rules.go). A [Meter] counts what has been used, by whom, over the last seconds
// (rate.go, meter.go), and says by how much to wait until the average is within the quota again, as Kafka does (KIP-13,
// KIP-124): the answer goes out at once and says how long the connection will not be read (KIP-219).
package quota
