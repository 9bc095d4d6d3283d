package protocol_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/stelemq/stele/protocol"
)

func TestAppendResponse_HasLengthAndHeader(t *testing.T) {
	resp := kmsg.NewPtrApiVersionsResponse()
	resp.Version = 3
	resp.ApiKeys = []kmsg.ApiVersionsResponseApiKey{{ApiKey: 18, MaxVersion: 5}}
	got, err := protocol.AppendResponse([]byte("before"), 7, resp)
	if err != nil {
		t.Fatal(err)
	}
	if want := append([]byte("before"), fromHex(t, "00000013 00000007 0000 02 0012 0000 0005 00 00000000 00")...); !bytes.Equal(got, want) {
		t.Errorf("%x, want %x", got, want)
	}
}

func TestEncodeResponse_BuffersAreUsedAgain(t *testing.T) {
	resp := kmsg.NewPtrMetadataResponse()
	resp.Version = 9
	want, err := protocol.AppendResponse(nil, 7, resp)
	if err != nil {
		t.Fatal(err)
	}
	for range 100 {
		buf, err := protocol.EncodeResponse(7, resp)
		if err != nil || !bytes.Equal(buf.B, want) {
			t.Fatalf("%x, %v", buf.B, err)
		}
		buf.Free()
	}
}

func TestDecodeRequest_Errors(t *testing.T) {
	for _, row := range []struct {
		name string
		h    protocol.RequestHeader
		body []byte
		max  int
		want error
	}{
		{"unknown key", protocol.RequestHeader{Key: 999}, nil, 100, protocol.ErrUnknownAPI},
		{"not in the table", protocol.RequestHeader{Key: 4}, nil, 100, protocol.ErrUnknownAPI},
		{"version", protocol.RequestHeader{Key: protocol.KeyMetadata, Version: 14}, nil, 100, protocol.ErrUnsupportedVersion},
		{"cut", protocol.RequestHeader{Key: protocol.KeyMetadata}, []byte{0, 0}, 100, protocol.ErrMalformed},
		{"null where kmsg wants a string", protocol.RequestHeader{Key: protocol.KeyMetadata}, []byte{0, 0, 0, 1, 0xff, 0xff}, 1000, protocol.ErrMalformed},
		{"memory", protocol.RequestHeader{Key: protocol.KeyMetadata}, []byte{0, 0, 0, 2, 0, 0, 0, 0}, 100, protocol.ErrTooLarge},
	} {
		if _, err := protocol.DecodeRequest(row.h, row.body, row.max); !errors.Is(err, row.want) {
			t.Errorf("%s: got %v, want %v", row.name, err, row.want)
		}
	}
}
