package protocol_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"runtime"
	"testing"
	"testing/iotest"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/stelemq/stele/protocol"
)

// fromHex is the bytes of hexadecimal digits; spaces are left out.
func fromHex(tb testing.TB, s string) []byte {
	tb.Helper()
	b, err := hex.DecodeString(string(bytes.ReplaceAll([]byte(s), []byte(" "), nil)))
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

func TestParseRequestHeader_Golden(t *testing.T) {
	for _, row := range []struct {
		name, frame  string
		key, version int16
		client       []byte
		body         string
	}{
		{"v1", "0003 0008 00000007 0002 6162 cafe", protocol.KeyMetadata, 8, []byte("ab"), "cafe"},
		{"v1 with null client id", "0003 0008 00000007 ffff cafe", protocol.KeyMetadata, 8, nil, "cafe"},
		{"v1 with empty client id", "0003 0008 00000007 0000", protocol.KeyMetadata, 8, []byte{}, ""},
		{"v2", "0003 0009 00000007 0002 6162 00 cafe", protocol.KeyMetadata, 9, []byte("ab"), "cafe"},
		{"v2 with tags", "0003 0009 00000007 0002 6162 02 00 01 ff 85 01 00 cafe", protocol.KeyMetadata, 9, []byte("ab"), "cafe"},
		{"SaslHandshake is never flexible", "0011 0001 00000007 ffff 0000", protocol.KeySaslHandshake, 1, nil, "0000"},
		{"ApiVersions v3", "0012 0003 00000007 ffff 00 02", protocol.KeyApiVersions, 3, nil, "02"},
	} {
		t.Run(row.name, func(t *testing.T) {
			frame := fromHex(t, row.frame)
			h, body, err := protocol.ParseRequestHeader(frame)
			if err != nil {
				t.Fatal(err)
			}
			if h.Key != row.key || h.Version != row.version || h.CorrelationID != 7 || h.API.Key != row.key {
				t.Errorf("got %+v", h)
			}
			if !bytes.Equal(h.ClientID, row.client) || (h.ClientID == nil) != (row.client == nil) || hex.EncodeToString(body) != row.body {
				t.Errorf("client %q, body %x", h.ClientID, body)
			}
			for n := range len(frame) - len(body) {
				if _, _, err := protocol.ParseRequestHeader(frame[:n]); !errors.Is(err, protocol.ErrMalformed) {
					t.Errorf("%d bytes: %v", n, err)
				}
			}
			if n := testing.AllocsPerRun(10, func() { _, _, _ = protocol.ParseRequestHeader(frame) }); n != 0 {
				t.Errorf("%v allocations", n)
			}
		})
	}
}

func TestParseRequestHeader_Refuses(t *testing.T) {
	for _, row := range []struct {
		name, frame string
		want        error
	}{
		{"unknown key", "0004 0000 00000007 ffff", protocol.ErrUnknownAPI},
		{"negative key", "ffff 0000 00000007 ffff", protocol.ErrUnknownAPI},
		{"version too high", "0012 0063 00000007", protocol.ErrUnsupportedVersion},
		{"version negative", "0012 ffff 00000007", protocol.ErrUnsupportedVersion},
		{"client id of -2", "0003 0008 00000007 fffe", protocol.ErrMalformed},
		{"client id beyond the end", "0003 0008 00000007 7fff 00", protocol.ErrMalformed},
		{"tag twice", "0003 0009 00000007 ffff 02 0500 0500", protocol.ErrMalformed},
		{"tags that descend", "0003 0009 00000007 ffff 02 0500 0400", protocol.ErrMalformed},
		{"2^32-1 tags", "0003 0009 00000007 ffff ffffffff0f 0000", protocol.ErrMalformed},
		{"tag of 2^32-1 bytes", "0003 0009 00000007 ffff 01 00 ffffffff0f", protocol.ErrMalformed},
	} {
		t.Run(row.name, func(t *testing.T) {
			h, _, err := protocol.ParseRequestHeader(fromHex(t, row.frame))
			if !errors.Is(err, row.want) {
				t.Errorf("got %v, want %v", err, row.want)
			}
			if h.CorrelationID != 7 {
				t.Errorf("correlation id %d: an answer needs it", h.CorrelationID)
			}
		})
	}
}

func TestParseRequestHeader_OfKmsgInAllVersions(t *testing.T) {
	for _, a := range protocol.APIs() {
		for v := a.Min; v <= a.Max; v++ {
			req := kmsg.RequestForKey(a.Key)
			req.SetVersion(v)
			frame := kmsg.NewRequestFormatter(kmsg.FormatterClientID("me")).AppendRequest(nil, req, 99)
			h, body, err := protocol.ParseRequestHeader(frame[protocol.FramePrefixLen:])
			if err != nil || h.Key != a.Key || h.Version != v || h.CorrelationID != 99 || string(h.ClientID) != "me" || !bytes.Equal(body, req.AppendTo(nil)) {
				t.Errorf("%s v%d: %+v, body %x, %v", a.Name, v, h, body, err)
			}
		}
	}
}

func TestAppendResponseHeader_Versions(t *testing.T) {
	for _, row := range []struct {
		name         string
		key, version int16
		want         string
	}{
		{"Metadata v8", protocol.KeyMetadata, 8, "00000007"},
		{"Metadata v9 has tags", protocol.KeyMetadata, 9, "0000000700"},
		{"ApiVersions v0", protocol.KeyApiVersions, 0, "00000007"},
		{"ApiVersions v3 has none (KIP-511)", protocol.KeyApiVersions, 3, "00000007"},
		{"ApiVersions v5 neither", protocol.KeyApiVersions, 5, "00000007"},
		{"SaslHandshake v1", protocol.KeySaslHandshake, 1, "00000007"},
		{"unknown key", 999, 9, "00000007"},
	} {
		if got := hex.EncodeToString(protocol.AppendResponseHeader(nil, row.key, row.version, 7)); got != row.want {
			t.Errorf("%s: %s, want %s", row.name, got, row.want)
		}
	}
}

func TestFrameSize_Limits(t *testing.T) {
	for _, row := range []struct {
		name   string
		prefix [4]byte
		limit  int
		ok     bool
	}{
		{"zero", [4]byte{}, 1 << 20, false},
		{"negative", [4]byte{0xff, 0xff, 0xff, 0xff}, 1 << 20, false},
		{"smallest int32", [4]byte{0x80}, 1 << 20, false},
		{"largest int32", [4]byte{0x7f, 0xff, 0xff, 0xff}, protocol.DefaultMaxFrame, false},
		{"below a header", [4]byte{0, 0, 0, 7}, 1 << 20, false},
		{"a header", [4]byte{0, 0, 0, 8}, 1 << 20, true},
		{"at the limit before authentication", [4]byte{0, 8, 0, 0}, protocol.MaxFrameUnauthenticated, true},
		{"above it", [4]byte{0, 8, 0, 1}, protocol.MaxFrameUnauthenticated, false},
		{"at Kafka's limit", [4]byte{6, 64, 0, 0}, protocol.DefaultMaxFrame, true},
		{"above it", [4]byte{6, 64, 0, 1}, protocol.DefaultMaxFrame, false},
		{"GET /", [4]byte{'G', 'E', 'T', ' '}, protocol.DefaultMaxFrame, false},
		{"TLS", [4]byte{0x16, 3, 1, 2}, protocol.DefaultMaxFrame, false},
	} {
		if n, err := protocol.FrameSize(row.prefix, row.limit); (err == nil) != row.ok || err != nil && !errors.Is(err, protocol.ErrFrame) {
			t.Errorf("%s: %d, %v", row.name, n, err)
		}
	}
}

func TestReadFrame_OneByOne(t *testing.T) {
	stream := fromHex(t, "00000008 0001020304050607 00000009 000102030405060708")
	r := iotest.OneByteReader(bytes.NewReader(stream))
	var frame []byte
	for _, want := range []int{8, 9} {
		var err error
		if frame, err = protocol.ReadFrame(frame[:0], r, 100); err != nil || len(frame) != want {
			t.Fatalf("%x, %v", frame, err)
		}
	}
	if _, err := protocol.ReadFrame(nil, r, 100); err != io.EOF { //nolint:errorlint // the contract says io.EOF itself
		t.Errorf("at the end: %v", err)
	}
	for _, n := range []int{2, 4, 7} {
		if _, err := protocol.ReadFrame(nil, bytes.NewReader(stream[:n]), 100); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("cut at %d: %v", n, err)
		}
	}
}

func TestReadFrame_AllocatesWhatArrives(t *testing.T) {
	claim := append([]byte{6, 64, 0, 0}, make([]byte, 3000)...)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := protocol.ReadFrame(nil, bytes.NewReader(claim), protocol.DefaultMaxFrame)
	runtime.ReadMemStats(&after)
	if used := after.TotalAlloc - before.TotalAlloc; !errors.Is(err, io.ErrUnexpectedEOF) || used > 4<<20 {
		t.Errorf("%d bytes allocated, %v", used, err)
	}
	big := append([]byte{0, 0x70, 0, 0}, make([]byte, 7<<20)...)
	if frame, err := protocol.ReadFrame(nil, bytes.NewReader(big), protocol.DefaultMaxFrame); err != nil || len(frame) != 7<<20 {
		t.Errorf("%d bytes, %v", len(frame), err)
	}
}

func FuzzRequestHeader(f *testing.F) {
	f.Add(fromHex(f, "0003 0009 00000007 0002 6162 02 00 01 ff 85 01 00 cafe"))
	f.Add(fromHex(f, "0012 0063 00000007 0000"))
	f.Add(fromHex(f, "0003 0000 00000007 ffff"))
	f.Fuzz(func(t *testing.T, frame []byte) {
		h, body, err := protocol.ParseRequestHeader(frame)
		if err != nil {
			if !errors.Is(err, protocol.ErrMalformed) && !errors.Is(err, protocol.ErrUnknownAPI) && !errors.Is(err, protocol.ErrUnsupportedVersion) {
				t.Fatalf("an error outside the contract: %v", err)
			}
			return
		}
		if len(body) > len(frame)-10 || !bytes.HasSuffix(frame, body) || h.API.Key != h.Key {
			t.Fatalf("%+v and a body of %d bytes out of %d", h, len(body), len(frame))
		}
		if got := protocol.AppendResponseHeader(nil, h.Key, h.Version, h.CorrelationID); len(got) > 5 {
			t.Fatalf("header %x", got)
		}
	})
}

func FuzzFrame(f *testing.F) {
	f.Add([]byte{0, 0, 0, 8, 0, 1, 2, 3, 4, 5, 6, 7}, 100)
	f.Add([]byte{0x7f, 0xff, 0xff, 0xff}, 1<<31-1)
	f.Add([]byte{0x80, 0, 0, 0, 1}, 512<<10)
	f.Fuzz(func(t *testing.T, stream []byte, limit int) {
		frame, err := protocol.ReadFrame(nil, bytes.NewReader(stream), limit)
		switch {
		case err == nil:
			if len(frame) < 8 || len(frame) > limit || !bytes.HasPrefix(stream[4:], frame) {
				t.Fatalf("frame of %d bytes, limit %d", len(frame), limit)
			}
		case errors.Is(err, protocol.ErrFrame), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		default:
			t.Fatalf("an error outside the contract: %v", err)
		}
	})
}
