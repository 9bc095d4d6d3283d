// Package load puts load on a Kafka-protocol broker and measures what comes of it: produce, consume and end to end through
// package client, and the ceilings by raw Produce and Fetch requests with batches that were encoded beforehand.
//
// A Scenario says what to do, a Target where, and Run does it once. With a rate, latencies count from the moment at which a
// record was due, not from when it could be sent (no coordinated omission). Nothing here knows which product answers.
package load
