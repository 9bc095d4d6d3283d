package protocol

import (
	"encoding/binary"
	"fmt"
	"math"
	"sync"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// ReadRequest decodes body into req, whose version must be set: CheckRequest, then kmsg. Strings are copied, fields of
// bytes alias body. Limit
// bounds the memory that the request takes decoded; it should be that of the connection's frames.
//
// Errors: ErrMalformed, ErrTooLarge, ErrUnknownAPI, ErrUnsupportedVersion.
func ReadRequest(req kmsg.Request, body []byte, limit int) error {
	if err := CheckRequest(req.Key(), req.GetVersion(), body, limit); err != nil {
		return err
	}
	if err := req.ReadFrom(body); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrMalformed, kmsg.NameForKey(req.Key()), err)
	}
	return nil
}

// DecodeRequest is ReadRequest for the API and version of a header.
//
// Errors: as ReadRequest.
func DecodeRequest(h RequestHeader, body []byte, limit int) (kmsg.Request, error) {
	req := kmsg.RequestForKey(h.Key)
	if req == nil {
		return nil, fmt.Errorf("%w: %d", ErrUnknownAPI, h.Key)
	}
	req.SetVersion(h.Version)
	if err := ReadRequest(req, body, limit); err != nil {
		return nil, err
	}
	return req, nil
}

// AppendResponse appends the frame of a response, its length and header included, to dst. The response's version must be set.
//
// Errors: ErrTooLarge (a frame of 2 GiB).
func AppendResponse(dst []byte, correlationID int32, resp kmsg.Response) ([]byte, error) {
	start := len(dst)
	dst = append(dst, 0, 0, 0, 0)
	dst = AppendResponseHeader(dst, resp.Key(), resp.GetVersion(), correlationID)
	dst = resp.AppendTo(dst)
	size := len(dst) - start - FramePrefixLen
	if size > math.MaxInt32 {
		return dst[:start], fmt.Errorf("%w: response of %d bytes", ErrTooLarge, size)
	}
	binary.BigEndian.PutUint32(dst[start:], uint32(size))
	return dst, nil
}

// maxPooled is the largest buffer that is kept for later responses.
const maxPooled = 256 << 10

// buffers for responses.
//
//nolint:gochecknoglobals // pool
var buffers = sync.Pool{New: func() any { return new(Buffer) }}

// Buffer holds the bytes of a response until they are written.
type Buffer struct {
	B []byte
}

// EncodeResponse is AppendResponse into a pooled buffer, which the caller gives back with Free.
//
// Errors: ErrTooLarge.
func EncodeResponse(correlationID int32, resp kmsg.Response) (*Buffer, error) {
	buf, ok := buffers.Get().(*Buffer)
	if !ok {
		buf = new(Buffer)
	}
	var err error
	if buf.B, err = AppendResponse(buf.B[:0], correlationID, resp); err != nil {
		buf.Free()
		return nil, err
	}
	return buf, nil
}

// Free gives the buffer back; it must not be used afterwards.
func (b *Buffer) Free() {
	if cap(b.B) > maxPooled {
		b.B = nil
	}
	buffers.Put(b)
}
