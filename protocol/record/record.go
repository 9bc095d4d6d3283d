package record

import (
	"fmt"
	"iter"
)

// minRecordLen is the size of the smallest record: six fields of a byte each and the length before them.
const minRecordLen = 7

// headerSize is the memory of one Header, for bounds.
const headerSize = 40

// Record is one record of a batch. Key and Value are nil if null, and not nil if empty.
type Record struct {
	Offset    Offset
	Timestamp int64 // ms since 1970
	Key       []byte
	Value     []byte
	Headers   []Header
}

// Header is one header of a record. Keys may repeat. Value is nil if null.
type Header struct {
	Key   string
	Value []byte
}

// Records iterates over the records of the batch. Decompressed they may take at most maxBytes; so may the headers of one
// record in memory. The iteration ends after the first error. Keys and values alias the batch, or, if it is compressed, a
// buffer of this iteration: both may be kept as long as the batch's bytes do not change. The CRC is not checked here.
//
// Errors: ErrCorrupt (does not decompress), ErrInvalid (records malformed, too few or too many), ErrCodec, ErrTooLarge.
func (b Batch) Records(maxBytes int) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		if len(b) < HeaderLen {
			yield(Record{}, fmt.Errorf("%w: %d bytes", ErrCorrupt, len(b)))
			return
		}
		data, err := b.Decompress(nil, maxBytes)
		if err != nil {
			yield(Record{}, err)
			return
		}
		b.iterate(data, maxBytes, yield)
	}
}

// iterate yields the records in data, which is the batch's payload, decompressed.
func (b Batch) iterate(data []byte, maxBytes int, yield func(Record, error) bool) {
	d := recordDecoder{rest: data, attr: b.Attributes(), maxHeaders: maxBytes / headerSize, last: -1}
	base, baseTime, maxTime, limit := b.BaseOffset(), b.BaseTimestamp(), b.MaxTimestamp(), b.LastOffsetDelta()
	count := b.Count()
	if count < 0 {
		yield(Record{}, fmt.Errorf("%w: %d records", ErrInvalid, count))
		return
	}
	for i := range count {
		r, delta, err := d.next()
		if err == nil && delta > limit {
			err = fmt.Errorf("%w: offset delta %d beyond the batch's last, %d", ErrInvalid, delta, limit)
		}
		if err != nil {
			yield(Record{}, fmt.Errorf("record %d of %d: %w", i, count, err))
			return
		}
		r.Offset = base + Offset(delta)
		if d.attr.LogAppendTime() {
			r.Timestamp = maxTime
		} else {
			r.Timestamp += baseTime
		}
		if !yield(r, nil) {
			return
		}
	}
	if len(d.rest) > 0 {
		yield(Record{}, fmt.Errorf("%w: %d bytes after %d records", ErrInvalid, len(d.rest), count))
	}
}

// recordDecoder reads records one after the other, strictly.
type recordDecoder struct {
	rest       []byte
	attr       Attributes
	maxHeaders int
	last       int32 // offset delta of the record before, -1 at first
}

// next reads a record; its Timestamp is relative to the batch's base.
func (d *recordDecoder) next() (Record, int32, error) {
	var r Record
	length, rest, ok := varint(d.rest)
	if !ok {
		return r, 0, fmt.Errorf("%w: length", ErrInvalid)
	}
	if length < 0 || int(length) > len(rest) {
		return r, 0, fmt.Errorf("%w: length %d with %d bytes left", ErrInvalid, length, len(rest))
	}
	body := rest[:length:length]
	d.rest = rest[length:]
	delta, err := d.body(&r, body)
	if err != nil {
		return r, 0, err
	}
	if delta <= d.last {
		return r, 0, fmt.Errorf("%w: offset delta %d after %d", ErrInvalid, delta, d.last)
	}
	d.last = delta
	return r, delta, nil
}

// body reads the fields after the length and returns the offset delta.
func (d *recordDecoder) body(r *Record, p []byte) (int32, error) {
	if len(p) == 0 {
		return 0, fmt.Errorf("%w: attributes", ErrInvalid)
	}
	p = p[1:] // attributes of a record are unused
	timeDelta, p, ok := varlong(p)
	if !ok {
		return 0, fmt.Errorf("%w: timestamp delta", ErrInvalid)
	}
	r.Timestamp = timeDelta
	delta, p, ok := varint(p)
	if !ok {
		return 0, fmt.Errorf("%w: offset delta", ErrInvalid)
	}
	if r.Key, p, ok = nullableBytes(p); !ok {
		return 0, fmt.Errorf("%w: key", ErrInvalid)
	}
	if r.Value, p, ok = nullableBytes(p); !ok {
		return 0, fmt.Errorf("%w: value", ErrInvalid)
	}
	p, err := d.headers(r, p)
	if err != nil {
		return 0, err
	}
	if len(p) > 0 {
		return 0, fmt.Errorf("%w: %d bytes after the headers", ErrInvalid, len(p))
	}
	return delta, nil
}

// headers reads the headers and returns what follows them.
func (d *recordDecoder) headers(r *Record, p []byte) ([]byte, error) {
	n, p, ok := varint(p)
	if !ok || n < 0 || int(n) > len(p)/2 { // a header takes two bytes at least
		return nil, fmt.Errorf("%w: header count %d", ErrInvalid, n)
	}
	if n == 0 {
		return p, nil
	}
	if int(n) > d.maxHeaders {
		return nil, fmt.Errorf("%w: %d headers", ErrTooLarge, n)
	}
	r.Headers = make([]Header, n)
	for i := range r.Headers {
		var key []byte
		if key, p, ok = nullableBytes(p); !ok || key == nil {
			return nil, fmt.Errorf("%w: header key", ErrInvalid)
		}
		r.Headers[i].Key = string(key)
		if r.Headers[i].Value, p, ok = nullableBytes(p); !ok {
			return nil, fmt.Errorf("%w: header value", ErrInvalid)
		}
	}
	return p, nil
}
