package recordfmt

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"
)

// Reader reads records by a layout.
type Reader struct {
	r      *bufio.Reader
	fields []field
	max    int
	buf    []byte
	count  int
}

// field is a verb of a layout and the text that ends it.
type field struct {
	verb   byte
	end    []byte
	before []byte // text before the first verb
}

// ErrTooLong means that a record is longer than the reader was told to take.
var ErrTooLong = errors.New("record too long")

// NewReader returns a Reader of a layout whose verbs are separated by text.
// max bounds a field.
func NewReader(r io.Reader, layout string, maxBytes int) (*Reader, error) {
	l, err := parseLayout(layout, "vsktpdT%")
	if err != nil {
		return nil, fmt.Errorf("reading: %w", err)
	}
	out := &Reader{r: bufio.NewReaderSize(r, 256<<10), max: maxBytes}
	var before []byte
	for i := range l.tokens {
		t := &l.tokens[i]
		switch {
		case t.verb == 0 && len(out.fields) == 0:
			before = append(before, t.literal...)
		case t.verb == 0:
			f := &out.fields[len(out.fields)-1]
			f.end = append(f.end, t.literal...)
		case len(out.fields) > 0 && out.fields[len(out.fields)-1].end == nil:
			return nil, fmt.Errorf("reading: %%%c follows %%%c without text between them", t.verb, out.fields[len(out.fields)-1].verb)
		case t.encode != plain || t.verb == 'T' && !t.time.millis || t.verb == 'd' && !t.time.millis:
			return nil, fmt.Errorf("reading: %%%c cannot be read in that form", t.verb)
		default:
			out.fields = append(out.fields, field{verb: t.verb, before: before})
			before = nil
		}
	}
	if len(out.fields) == 0 || out.fields[len(out.fields)-1].end == nil {
		return nil, errors.New(`reading: the format needs verbs and an end such as \n`)
	}
	return out, nil
}

// Next reads the next record into r. Its bytes are valid until the call after.
// The error is io.EOF at the end of the input, and only if it does not end
// within a record.
func (x *Reader) Next(r *Record) error {
	*r = Record{Partition: -1}
	x.buf = x.buf[:0]
	type span struct{ from, to int }
	spans := make([]span, 0, 4)
	for i := range x.fields {
		f := &x.fields[i]
		if err := x.skip(f.before, i == 0); err != nil {
			return err
		}
		from := len(x.buf)
		if err := x.until(f.end, i == 0, i == len(x.fields)-1); err != nil {
			return err
		}
		spans = append(spans, span{from, len(x.buf)})
	}
	x.count++
	for i, s := range spans { // x.buf does not move any more
		if err := set(r, x.fields[i].verb, x.buf[s.from:s.to:s.to]); err != nil {
			return fmt.Errorf("record %d: %w", x.count, err)
		}
	}
	return nil
}

func set(r *Record, verb byte, b []byte) error {
	var err error
	switch verb {
	case 'k':
		r.Key = b
	case 't':
		r.Topic = string(b)
	case 'p':
		var n int64
		n, err = strconv.ParseInt(string(b), 10, 32)
		r.Partition = int32(n)
	case 'd', 'T':
		var n int64
		n, err = strconv.ParseInt(string(b), 10, 64)
		r.Timestamp = time.UnixMilli(n)
	default:
		r.Value = b
	}
	if err != nil {
		return fmt.Errorf("%%%c: %q is not a number", verb, b)
	}
	return nil
}

// skip reads text that must come.
func (x *Reader) skip(text []byte, first bool) error {
	for i, want := range text {
		c, err := x.r.ReadByte()
		if err != nil {
			return x.ended(err, first && i == 0)
		}
		if c != want {
			return fmt.Errorf("record %d: %q where the format has %q", x.count+1, c, want)
		}
	}
	return nil
}

// until reads to the end text of a field, and takes the end of the input for
// that of the last.
func (x *Reader) until(end []byte, first, last bool) error {
	from := len(x.buf)
	for {
		piece, err := x.r.ReadSlice(end[len(end)-1])
		x.buf = append(x.buf, piece...)
		if len(x.buf)-from > x.max+len(end) {
			return fmt.Errorf("record %d: %w: more than %d bytes", x.count+1, ErrTooLong, x.max)
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
		case err != nil && last && errors.Is(err, io.EOF) && (!first || len(x.buf) > from):
			return nil
		case err != nil:
			return x.ended(err, first && len(x.buf) == from)
		case bytes.HasSuffix(x.buf[from:], end):
			x.buf = x.buf[:len(x.buf)-len(end)]
			return nil
		}
	}
}

func (x *Reader) ended(err error, between bool) error {
	if errors.Is(err, io.EOF) && !between {
		return fmt.Errorf("record %d: the input ends within it", x.count+1)
	}
	return err //nolint:wrapcheck // io.EOF, or the input's own
}
