package protocol

import (
	"fmt"
)

// kind is how a field of a request stands on the wire.
type kind uint8

const (
	fixed    kind = iota // size bytes
	text                 // string, nullable or not
	blob                 // bytes, nullable or not
	list                 // array of plain values: elem is the one field of each
	array                // array of structs: elem are the fields of each, tags follow them
	group                // struct: elem, tags
	nullable             // a byte, -1 for null, and then a group
)

// field is a field of a request: what must be known to step over it and to say what memory it takes decoded.
type field struct {
	kind   kind
	size   int     // of a fixed field
	since  int16   // first version that has it
	gone   int16   // first version that no longer has it, if not 0
	tagged bool    // whether it is a tagged field, of all flexible versions,
	tag    uint32  // and under which number
	mem    uintptr // size in Go of an element, or of what a nullable points to
	elem   []field
}

func (f *field) in(version int16) bool {
	return !f.tagged && version >= f.since && (f.gone == 0 || version < f.gone)
}

// What things take in memory besides the sizes of structs, a little above what was measured.
const (
	memText    = 24  // a pointer to a string and rounding up to a size class
	memTags    = 400 // the map for tags that are not known
	memTag     = 64
	memRounded = 8 // allocations are rounded up by at most an 8th
)

// CheckRequest walks the body of a request and refuses what kmsg could not decode, or not within limit bytes of memory: lengths
// beyond the end, counts of tags that would keep it busy for minutes, tags that do not ascend, and arrays whose elements
// take far more bytes in Go than on the wire. It allocates nothing if the request is good. What follows a request's last field is ignored, as in Kafka.
//
// Errors: ErrMalformed, ErrTooLarge, ErrUnknownAPI, ErrUnsupportedVersion.
func CheckRequest(key, version int16, body []byte, limit int) error {
	_, _, err := checkRequest(key, version, body, limit)
	return err
}

// checkRequest is CheckRequest; it returns what follows the request and the memory that it takes, too.
func checkRequest(key, version int16, body []byte, limit int) (rest []byte, mem int, err error) {
	api, ok := Lookup(key)
	switch {
	case !ok:
		return nil, 0, fmt.Errorf("%w: %d", ErrUnknownAPI, key)
	case !api.Advertises(version):
		return nil, 0, fmt.Errorf("%w: %s v%d", ErrUnsupportedVersion, api.Name, version)
	}
	w := walker{cursor: cursor{rest: body}, version: version, flexible: api.Flexible(version), room: int64(limit)}
	w.group(shapes[key])
	switch {
	case w.room < 0:
		return nil, 0, fmt.Errorf("%w: %s v%d decoded takes more than %d bytes", ErrTooLarge, api.Name, version, limit)
	case !w.ok():
		return nil, 0, fmt.Errorf("%s v%d: %w", api.Name, version, w.err())
	}
	return w.rest, limit - int(w.room), nil
}

// walker steps over the fields of a request.
type walker struct {
	cursor

	version  int16
	flexible bool
	room     int64 // memory left
}

// use takes n bytes of memory from what is left; if that is not enough, the walk ends.
func (w *walker) use(n int64) {
	if w.room -= n; w.room < 0 {
		w.fail("memory")
	}
}

// group steps over the fields of a struct and its tags.
func (w *walker) group(fields []field) {
	for i := range fields {
		if fields[i].in(w.version) {
			w.field(&fields[i])
		}
	}
	if w.flexible {
		w.groupTags(fields)
	}
}

func (w *walker) field(f *field) {
	switch f.kind {
	case fixed:
		w.take(f.size, "field")
	case text:
		w.use(memText + int64(len(w.bytes(w.flexible, 2, "string"))))
	case blob:
		w.bytes(w.flexible, 4, "bytes")
	case list, array:
		w.array(f)
	case group:
		w.group(f.elem)
	case nullable:
		if p := w.take(1, "struct"); p != nil && int8(p[0]) != -1 {
			w.use(int64(f.mem))
			w.group(f.elem)
		}
	}
}

// array steps over an array, or list, which may be null.
func (w *walker) array(f *field) {
	n := w.length(w.flexible, 4, "array")
	if n <= 0 {
		return
	}
	if n > len(w.rest)/w.smallest(f) {
		w.fail("array")
		return
	}
	mem := int64(n) * int64(f.mem)
	w.use(mem + mem/memRounded)
	for i := 0; i < n && w.ok(); i++ {
		if f.kind == list {
			w.field(&f.elem[0])
		} else {
			w.group(f.elem)
		}
	}
}

// smallest is how many bytes an element of f takes at least.
func (w *walker) smallest(f *field) int {
	n := 0
	for i := range f.elem {
		if e := &f.elem[i]; e.in(w.version) {
			n += w.smallestField(e)
		}
	}
	if w.flexible && f.kind != list {
		n++ // the number of tags
	}
	return max(n, 1)
}

func (w *walker) smallestField(f *field) int {
	switch f.kind {
	case fixed:
		return f.size
	case text:
		if !w.flexible {
			return 2
		}
	case blob, list, array:
		if !w.flexible {
			return 4
		}
	case group:
		return w.smallest(f)
	case nullable:
	}
	return 1
}

// groupTags steps over the tags of a struct and into those that it knows.
func (w *walker) groupTags(fields []field) {
	unknown := false
	w.tags("tags", func(tag uint32, value []byte) {
		if f := tagged(fields, tag); f != nil {
			w.inside(f, value)
			return
		}
		if w.use(memTag); !unknown {
			unknown = true
			w.use(memTags)
		}
	})
}

// inside steps over the value of a tag that is known.
func (w *walker) inside(f *field, value []byte) {
	outer := w.rest
	w.rest = value
	w.field(f)
	if w.ok() && len(w.rest) > 0 {
		w.fail("length of a tag")
	}
	if w.ok() {
		w.rest = outer
	}
}

// tagged finds the field of a tag; nil if it is not known.
func tagged(fields []field, tag uint32) *field {
	for i := range fields {
		if fields[i].tagged && fields[i].tag == tag {
			return &fields[i]
		}
	}
	return nil
}
