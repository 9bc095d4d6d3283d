package commitlog

import "github.com/stelemq/stele/protocol/record"

// ReadRecords is Read for consumers: batches that compaction has emptied are left out, so that a compacted log looks to them as
// Kafka's does, in which nothing stands where everything has gone. Some clients take an answer without a single record for the
// end of the partition and go on at the high watermark (kafkajs), others lose their way at two empty batches in a row
// (kafka-go).
//
// Where nothing but empty batches is left below upTo, the last of them is returned: it tells consumers that they are at the end.
// What is returned may begin behind from and have gaps. Errors are Read's. Concurrent.
func (l *Log) ReadRecords(dst []byte, from, upTo record.Offset, maxBytes int, atLeastOne bool) ([]byte, error) {
	upTo = min(upTo, record.Offset(l.next.Load()))
	before := len(dst)
	for {
		out, err := l.Read(dst, from, upTo, maxBytes, atLeastOne)
		if err != nil || len(out) == before || from >= l.Rewritten() {
			return out, err
		}
		kept, next := dropEmpty(out, before, upTo)
		if len(kept) > before {
			return kept, nil
		}
		dst, from = kept, next
	}
}

// dropEmpty takes batches without records out of b[from:], in place, except one in the end that reaches up to end. next is the offset
// after the last batch there was.
func dropEmpty(b []byte, from int, end record.Offset) (kept []byte, next record.Offset) {
	kept = b[:from]
	for rest := b[from:]; len(rest) > 0; {
		batch, after, err := record.Next(rest)
		if err != nil { // Read returns whole batches
			return b, end
		}
		rest, next = after, batch.NextOffset()
		if batch.Count() > 0 || batch.Attributes().Control() || next >= end {
			kept = append(kept, batch...)
		}
	}
	return kept, next
}
