package protocol

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"math/rand/v2"
	"reflect"
	"runtime"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// fill gives the fields of a message random values, and unknown tags if asked.
func fill(v reflect.Value, rnd *rand.Rand, tags bool) {
	switch v.Kind() {
	case reflect.Struct:
		if t, ok := reflect.TypeAssert[*kmsg.Tags](v.Addr()); ok {
			if tags && rnd.IntN(2) == 0 {
				t.Set(uint32(500+rnd.IntN(1000)), make([]byte, rnd.IntN(200)))
			}
			return
		}
		for i := range v.NumField() {
			if v.Type().Field(i).Name != "Version" {
				fill(v.Field(i), rnd, tags)
			}
		}
	case reflect.Pointer:
		if rnd.IntN(3) > 0 {
			v.Set(reflect.New(v.Type().Elem()))
			fill(v.Elem(), rnd, tags)
		}
	case reflect.Slice:
		n := rnd.IntN(4)
		v.Set(reflect.MakeSlice(v.Type(), n, n))
		for i := range n {
			fill(v.Index(i), rnd, tags)
		}
	case reflect.Array:
		for i := range v.Len() {
			fill(v.Index(i), rnd, tags)
		}
	case reflect.String:
		v.SetString(string(make([]byte, rnd.IntN(140))))
	case reflect.Bool:
		v.SetBool(rnd.IntN(2) == 0)
	case reflect.Float64:
		v.SetFloat(rnd.Float64())
	case reflect.Uint8, reflect.Uint16, reflect.Uint32:
		v.SetUint(rnd.Uint64() & 0xff)
	default:
		v.SetInt(int64(int8(rnd.Uint64())))
	}
}

// randomRequest is a request of the version with random values.
func randomRequest(key, version int16, rnd *rand.Rand) kmsg.Request {
	req := kmsg.RequestForKey(key)
	fill(reflect.ValueOf(req).Elem(), rnd, version%2 == 0 || rnd.IntN(2) == 0)
	req.SetVersion(version)
	return req
}

func eachVersion(f func(a API, version int16)) {
	for _, a := range APIs() {
		for v := a.Min; v <= a.Max; v++ {
			f(a, v)
		}
	}
}

func TestShapes_AreThoseOfKmsg(t *testing.T) {
	eachVersion(func(a API, version int16) {
		rnd := rand.New(rand.NewPCG(uint64(a.Key), uint64(version)))
		for range 50 {
			body := randomRequest(a.Key, version, rnd).AppendTo(nil)
			rest, _, err := checkRequest(a.Key, version, append(body, "after"...), math.MaxInt32)
			if err != nil || string(rest) != "after" {
				t.Errorf("%s v%d of %d bytes: %d left, %v", a.Name, version, len(body), len(rest), err)
				return
			}
		}
	})
}

func TestReadRequest_ReadsWhatKmsgWrites(t *testing.T) {
	eachVersion(func(a API, version int16) {
		rnd := rand.New(rand.NewPCG(uint64(version), uint64(a.Key)))
		for range 10 {
			body := randomRequest(a.Key, version, rnd).AppendTo(nil)
			req, err := DecodeRequest(RequestHeader{Key: a.Key, Version: version}, body, 1<<20)
			if err != nil {
				t.Errorf("%s v%d: %v", a.Name, version, err)
				return
			}
			if again := req.AppendTo(nil); !bytes.Equal(again, body) {
				t.Errorf("%s v%d: written again it differs:\n%x\n%x", a.Name, version, body, again)
				return
			}
		}
	})
}

func TestCheckRequest_RefusesWhatIsCut(t *testing.T) {
	eachVersion(func(a API, version int16) {
		body := randomRequest(a.Key, version, rand.New(rand.NewPCG(1, 1))).AppendTo(nil)
		for n := range body {
			if err := CheckRequest(a.Key, version, body[:n], 1<<20); !errors.Is(err, ErrMalformed) {
				t.Errorf("%s v%d, %d of %d bytes: %v", a.Name, version, n, len(body), err)
				return
			}
		}
	})
}

func TestCheckRequest_RefusesOtherVersionsAndKeys(t *testing.T) {
	for _, row := range []struct {
		name         string
		key, version int16
		want         error
	}{
		{"unknown key", 4, 0, ErrUnknownAPI},
		{"negative key", -1, 0, ErrUnknownAPI},
		{"largest key", math.MaxInt16, 0, ErrUnknownAPI},
		{"version too high", KeyMetadata, 14, ErrUnsupportedVersion},
		{"version too low", KeyFetch, 3, ErrUnsupportedVersion},
		{"version negative", KeyMetadata, -1, ErrUnsupportedVersion},
	} {
		if err := CheckRequest(row.key, row.version, nil, 1<<20); !errors.Is(err, row.want) {
			t.Errorf("%s: got %v, want %v", row.name, err, row.want)
		}
	}
}

// minimal appends the shortest form of a struct's fields. The array with the number at (they are counted as they appear in the
// shape) gets n elements instead of none; with tags every struct in it has one that is not known.
type minimal struct {
	version  int16
	flexible bool
	tags     bool
	at, n    int
	seen     int
	path     []*field // which arrays and the like must be present so that the one wanted is
}

func (m *minimal) group(dst []byte, fields []field, inside bool) []byte {
	for i := range fields {
		if f := &fields[i]; f.in(m.version) {
			dst = m.field(dst, f, inside)
		}
	}
	if m.flexible {
		if m.tags && inside {
			return append(dst, 1, 100, 0)
		}
		dst = append(dst, 0)
	}
	return dst
}

func (m *minimal) field(dst []byte, f *field, inside bool) []byte {
	switch f.kind {
	case fixed:
		return append(dst, make([]byte, f.size)...)
	case text:
		if m.flexible {
			return append(dst, 1)
		}
		return append(dst, 0, 0)
	case blob:
		return m.length(dst, 0)
	case list, array:
		n := 0
		if !inside {
			m.seen++
			switch {
			case m.seen-1 == m.at:
				n = m.n
			case m.onPath(f):
				n = 1
			}
		}
		wanted := inside || n == m.n
		dst = m.length(dst, n)
		for range n {
			if f.kind == list {
				dst = m.field(dst, &f.elem[0], true)
			} else {
				dst = m.group(dst, f.elem, wanted)
			}
		}
		return dst
	case group:
		return m.group(dst, f.elem, inside)
	default:
		if m.onPath(f) {
			return m.group(append(dst, 1), f.elem, inside)
		}
		return append(dst, 0xff)
	}
}

func (m *minimal) onPath(f *field) bool {
	return slices.Contains(m.path, f)
}

func (m *minimal) length(dst []byte, n int) []byte {
	if m.flexible {
		return binary.AppendUvarint(dst, uint64(n+1))
	}
	return binary.BigEndian.AppendUint32(dst, uint32(n))
}

// arrays calls f for each array in the shape and the fields on the way to it.
func arrays(fields []field, version int16, path []*field, f func(path []*field)) {
	for i := range fields {
		e := &fields[i]
		if !e.in(version) {
			continue
		}
		switch e.kind {
		case list, array:
			f(path)
			arrays(e.elem, version, append(slices.Clip(path), e), f)
		case group, nullable:
			arrays(e.elem, version, append(slices.Clip(path), e), f)
		default:
		}
	}
}

func TestCheckRequest_KnowsTheMemory(t *testing.T) {
	const n = 2000
	if raceEnabled {
		t.Skip("measures memory, which differs with the race detector")
	}
	eachVersion(func(a API, version int16) {
		var paths [][]*field
		arrays(shapes[a.Key], version, nil, func(path []*field) { paths = append(paths, path) })
		for i, path := range paths {
			for _, tags := range []bool{false, true} {
				m := minimal{version: version, flexible: a.Flexible(version), tags: tags, n: n, path: path}
				m.at = position(shapes[a.Key], version, paths, i)
				body := m.group(nil, shapes[a.Key], false)
				rest, mem, err := checkRequest(a.Key, version, body, math.MaxInt32)
				if err != nil || len(rest) > 0 {
					t.Fatalf("%s v%d, array %d: %d left, %v", a.Name, version, i, len(rest), err)
				}
				req := kmsg.RequestForKey(a.Key)
				req.SetVersion(version)
				used := allocated(func() {
					if err := ReadRequest(req, body, math.MaxInt32); err != nil {
						t.Errorf("%s v%d, array %d: %v", a.Name, version, i, err)
					}
				})
				if used > mem+8<<10 {
					t.Errorf("%s v%d, array %d, tags %v: %d bytes taken, %d foretold", a.Name, version, i, tags, used, mem)
				}
				if err := CheckRequest(a.Key, version, body, mem-1); !errors.Is(err, ErrTooLarge) {
					t.Errorf("%s v%d, array %d: limit below what it takes: %v", a.Name, version, i, err)
				}
			}
		}
	})
}

// position is how many arrays minimal sees before the i-th of the shape: it does not look into empty ones.
func position(fields []field, version int16, paths [][]*field, i int) int {
	on := func(f *field) bool { return slices.Contains(paths[i], f) }
	seen, at, index := 0, 0, 0
	var walk func([]field, bool)
	walk = func(fields []field, visible bool) {
		for k := range fields {
			f := &fields[k]
			if !f.in(version) {
				continue
			}
			switch f.kind {
			case list, array:
				if index == i {
					at = seen
				}
				index++
				if visible {
					seen++
				}
				walk(f.elem, visible && on(f))
			case group:
				walk(f.elem, visible)
			case nullable:
				walk(f.elem, visible && on(f))
			default:
			}
		}
	}
	walk(fields, true)
	return at
}

func allocated(f func()) int {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return int(after.TotalAlloc - before.TotalAlloc)
}

func TestCheckRequest_HostileBodies(t *testing.T) {
	most := []byte{0xff, 0xff, 0xff, 0xff, 0x0f} // the largest varint of 32 bits
	for _, row := range []struct {
		name         string
		key, version int16
		body         []byte
		want         error
	}{
		{"array of 2^31-1", KeyMetadata, 0, []byte{0x7f, 0xff, 0xff, 0xff}, ErrMalformed},
		{"array of -2", KeyMetadata, 0, []byte{0xff, 0xff, 0xff, 0xfe}, ErrMalformed},
		{"array of -2^31", KeyMetadata, 0, []byte{0x80, 0, 0, 0}, ErrMalformed},
		{"compact array of 2^32-2", KeyMetadata, 12, most, ErrMalformed},
		{"varint that overflows", KeyMetadata, 12, []byte{0xff, 0xff, 0xff, 0xff, 0x1f}, ErrMalformed},
		{"2^32-1 tags", KeyMetadata, 12, append([]byte{0, 0, 0}, most...), ErrMalformed},
		{"tag of 2^32-1 bytes", KeyMetadata, 12, append([]byte{0, 0, 0, 1, 0}, most...), ErrMalformed},
		{"tag twice", KeyMetadata, 12, []byte{0, 0, 0, 2, 9, 0, 9, 0}, ErrMalformed},
		{"tags that descend", KeyMetadata, 12, []byte{0, 0, 0, 2, 9, 0, 8, 0}, ErrMalformed},
		{"tags that ascend", KeyMetadata, 12, []byte{0, 0, 0, 2, 8, 0, 9, 1, 1}, nil},
		{"string of -2", KeyInitProducerId, 0, []byte{0xff, 0xfe, 0, 0, 0, 0}, ErrMalformed},
		{"string beyond the end", KeyInitProducerId, 0, []byte{0x7f, 0xff, 0, 0, 0, 0}, ErrMalformed},
		{"null string", KeyInitProducerId, 0, []byte{0xff, 0xff, 0, 0, 0, 0}, nil},
		{"as many elements as bytes", KeyMetadata, 0, append([]byte{0, 0, 0, 100}, make([]byte, 100)...), ErrMalformed},
	} {
		t.Run(row.name, func(t *testing.T) {
			used := allocated(func() {
				req := kmsg.RequestForKey(row.key)
				req.SetVersion(row.version)
				if err := ReadRequest(req, row.body, 1<<20); !errors.Is(err, row.want) {
					t.Errorf("got %v, want %v", err, row.want)
				}
			})
			if used > 64<<10 {
				t.Errorf("%d bytes allocated", used)
			}
		})
	}
}

func TestCheckRequest_AllocatesNothing(t *testing.T) {
	body := randomRequest(KeyFetch, 17, rand.New(rand.NewPCG(3, 4))).AppendTo(nil)
	if n := testing.AllocsPerRun(100, func() {
		if err := CheckRequest(KeyFetch, 17, body, 1<<20); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzRequest decodes bodies of every API and version: none may panic, hang or take more memory than its limit.
func FuzzRequest(f *testing.F) {
	for _, a := range APIs() {
		if !a.Served {
			continue
		}
		for v := a.Min; v <= a.Max; v++ {
			f.Add(a.Key, v, randomRequest(a.Key, v, rand.New(rand.NewPCG(7, uint64(v)))).AppendTo(nil))
		}
	}
	f.Fuzz(func(t *testing.T, key, version int16, body []byte) {
		limit := 2*len(body) + 1<<10
		var req kmsg.Request
		var err error
		used := allocated(func() { req, err = DecodeRequest(RequestHeader{Key: key, Version: version}, body, limit) })
		if used > limit+64<<10 {
			t.Fatalf("%d bytes taken, limit %d", used, limit)
		}
		if err != nil {
			for _, e := range []error{ErrMalformed, ErrTooLarge, ErrUnknownAPI, ErrUnsupportedVersion} {
				if errors.Is(err, e) {
					return
				}
			}
			t.Fatalf("an error outside the contract: %v", err)
		}
		// What was read can be written and read again.
		again := req.AppendTo(nil)
		if _, err := DecodeRequest(RequestHeader{Key: key, Version: version}, again, 1<<24); err != nil {
			t.Fatalf("%x read and written as %x: %v", body, again, err)
		}
	})
}
