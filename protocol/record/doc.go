// Package record is Kafka's record batch, version 2: parse, validate, patch, iterate, build, compress.
//
// # Layout
//
//	offset  bytes  field
//	     0      8  base offset                patched by the broker
//	     8      4  length of what follows     (whole batch - 12)
//	    12      4  partition leader epoch     patched by the broker
//	    16      1  magic, 2
//	    17      4  CRC-32C of everything from byte 21 on
//	    21      2  attributes: bits 0-2 codec, 3 log append time, 4 transactional, 5 control, 6 delete horizon
//	    23      4  last offset delta
//	    27      8  base timestamp, ms
//	    35      8  max timestamp, ms
//	    43      8  producer id, -1 if none
//	    51      2  producer epoch
//	    53      4  base sequence
//	    57      4  record count
//	    61      …  records, compressed as a whole by the codec
//
// All integers are big-endian. The two patched fields stand outside the CRC: Patch makes the stored first 16
// bytes in a copy, so that a request's buffer is never modified.
//
// # Types
//
//   - Batch is a view of exactly one batch; Next cuts it from a buffer, Validate is what a broker checks of it
//     without touching its records. Neither allocates.
//   - Batch.Records iterates the records; decompressed output is bounded by the caller.
//   - Builder makes batches, plain, idempotent, transactional and control.
//
// # Ownership
//
// A Batch aliases the buffer it was cut from. Records of a batch without compression alias the batch; records of a
// compressed one alias a buffer made for that iteration, which nobody else uses. Nothing here starts goroutines or
// does I/O, and no input panics: all decoders are fuzzed.
//
// # What it does not do
//
// Magic 0 and 1 (Kafka 4 dropped them) and rewriting of records in place.
package record
