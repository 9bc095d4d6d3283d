package protocol

import (
	"encoding/binary"
	"fmt"
)

// RequestHeader stands before every request's body.
type RequestHeader struct {
	API           API // the row of the key; zero if the key is not known
	Key           int16
	Version       int16
	CorrelationID int32
	ClientID      []byte // aliases the frame; nil if null
}

// ParseRequestHeader reads the header of a request from its frame (without the length) and returns what follows it.
//
// With ErrUnknownAPI and ErrUnsupportedVersion the key, version and correlation id of the header are set, since a request
// for ApiVersions in a version that is too high must be answered (KIP-511). Versions that are advertised and not served are no error here
// (see API.Serves).
//
// Errors: ErrMalformed, ErrUnknownAPI, ErrUnsupportedVersion.
func ParseRequestHeader(frame []byte) (h RequestHeader, body []byte, err error) {
	c := cursor{rest: frame}
	h.Key = c.int16("API key")
	h.Version = c.int16("API version")
	h.CorrelationID = c.int32("correlation id")
	if !c.ok() {
		return h, nil, c.err()
	}
	api, ok := Lookup(h.Key)
	if !ok {
		return h, nil, fmt.Errorf("%w: %d", ErrUnknownAPI, h.Key)
	}
	h.API = api
	if !api.Advertises(h.Version) {
		return h, nil, fmt.Errorf("%w: %s v%d", ErrUnsupportedVersion, api.Name, h.Version)
	}
	h.rest(&c, api.RequestHeaderVersion(h.Version))
	return h, c.rest, c.err()
}

// rest reads what follows the correlation id in the given version of the header. Version 0 has nothing more.
func (h *RequestHeader) rest(c *cursor, version int16) {
	if version >= 1 {
		h.ClientID = c.bytes(false, 2, "client id") // not compact in version 2 either
	}
	if version >= 2 {
		c.tags("header tags", nil)
	}
}

// AppendResponseHeader appends the header of a response, without the frame's length, in the version that goes with the API's version.
func AppendResponseHeader(dst []byte, key, version int16, correlationID int32) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(correlationID))
	if api, ok := Lookup(key); ok && api.ResponseHeaderVersion(version) >= 1 {
		dst = append(dst, 0) // no tags
	}
	return dst
}
