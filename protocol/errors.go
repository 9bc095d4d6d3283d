package protocol

import (
	"errors"
	"fmt"
)

// Errors of this package. After ErrFrame the connection's framing is lost: it must be closed. After ErrMalformed and
// ErrUnknownAPI Kafka closes the connection too, since there is no way to answer.
var (
	// ErrFrame: a frame's length is negative, too small for a request header or beyond the limit.
	ErrFrame = errors.New("protocol: invalid frame length")
	// ErrMalformed: a header or body ends early or breaks the protocol's rules.
	ErrMalformed = errors.New("protocol: malformed request")
	// ErrTooLarge: decoding a request would take more memory than allowed, or a response would not fit a frame.
	ErrTooLarge = errors.New("protocol: larger than the limit")
	// ErrUnknownAPI: the key is not in the table.
	ErrUnknownAPI = errors.New("protocol: unknown API key")
	// ErrUnsupportedVersion: the API exists, the version is not served. UNSUPPORTED_VERSION where it can be answered.
	ErrUnsupportedVersion = errors.New("protocol: unsupported API version")
)

// Code is one of Kafka's error codes. All but None are errors.
type Code int16 //nolint:errname // Kafka's word

func (c Code) info() (codeInfo, bool) {
	if i := int(c) + 1; i >= 0 && i < len(codeTable) {
		return codeTable[i], true
	}
	return codeInfo{}, false
}

// String is Kafka's name of the code, such as NOT_LEADER_OR_FOLLOWER.
func (c Code) String() string {
	if info, ok := c.info(); ok {
		return info.name
	}
	return fmt.Sprintf("CODE_%d", int16(c))
}

// Text is what Kafka says of the code, a sentence without a full stop; empty if the code is not known.
func (c Code) Text() string {
	info, _ := c.info()
	return info.text
}

// Error is the name and the text of the code.
func (c Code) Error() string {
	info, ok := c.info()
	if !ok {
		return c.String()
	}
	return info.name + ": " + info.text
}

// Retriable is true if a client may send the same request again, as Kafka's clients do.
func (c Code) Retriable() bool {
	info, _ := c.info()
	return info.retriable
}

// Err is c as an error, nil for None.
func (c Code) Err() error {
	if c == None {
		return nil
	}
	return c
}

// Codes are all codes that Kafka knows, ascending.
func Codes() []Code {
	all := make([]Code, len(codeTable))
	for i := range all {
		all[i] = Code(i - 1)
	}
	return all
}
