// Package protocol is Kafka's wire protocol as this broker speaks it: frames, headers, the table of APIs and versions,
// error codes, and the two messages that carry records.
//
// # Main types
//
//   - API, APIs, Lookup: the one table of keys, versions and flexible versions. ApiVersions, the dispatcher and
//     docs/kafka-compat.md are made from it.
//   - Code: Kafka's error codes with names and whether a client may retry.
//   - FrameSize, ParseRequestHeader, AppendResponseHeader: framing and headers.
//   - ProduceRequest: parsed in place, its record batches alias the frame.
//   - FetchResponse: encoded around record batches, which are not copied.
//   - ReadRequest, DecodeRequest, AppendResponse: all other messages, by kmsg, which is generated from Kafka's definitions.
//
// # Frames
//
//	request:  length int32 | key int16 | version int16 | correlation int32 | client id nullable string | tags | body
//	response: length int32 | correlation int32 | tags | body
//
// The length does not count itself. Tags stand in the headers of flexible versions only (request header v2, response header
// v1; KIP-482), except that of an ApiVersions response, which never has them (KIP-511). The client id is a plain nullable
// string in all versions.
//
// # Hostile input
//
// Every length is compared with the bytes that remain before anything is allocated. Before kmsg sees a request its shape is
// walked (CheckRequest): array lengths, strings and tags must be possible, tags in ascending order, and the memory that its
// elements take in Go must stay below the frame limit. So a request takes at most twice that limit, frame included. No
// input panics or hangs: all decoders are fuzzed.
//
// # Ownership
//
// Parsed headers and Produce requests alias the frame; ReadRequest copies strings, and only fields of bytes alias it. Nothing here starts goroutines or does I/O, except
// that ReadFrame reads. All functions are safe for concurrent use.
//
// # What it does not do
//
// It knows no connections, no SASL tokens without framing, and does not look into records (see protocol/record).
package protocol
