package recordfmt

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"strconv"

	"github.com/stelemq/stele/protocol/record"
)

// TerminalSafe makes the layout show control characters of keys, values and
// headers as \xNN, so that a payload cannot command a terminal.
func (l *Layout) TerminalSafe() *Layout {
	safe := &Layout{tokens: make([]token, len(l.tokens)), safe: true}
	copy(safe.tokens, l.tokens)
	for i := range safe.tokens {
		if h := safe.tokens[i].headers; h != nil {
			safe.tokens[i].headers = h.TerminalSafe()
		}
	}
	return safe
}

// Append appends the record as the layout shows it.
func (l *Layout) Append(dst []byte, r *Record, s Surroundings) []byte {
	for i := range l.tokens {
		t := &l.tokens[i]
		switch t.verb {
		case 0:
			dst = append(dst, t.literal...)
		case 't':
			dst = append(dst, r.Topic...)
		case 'p':
			dst = strconv.AppendInt(dst, int64(r.Partition), 10)
		case 'o':
			dst = strconv.AppendInt(dst, r.Offset, 10)
		case 'e':
			dst = strconv.AppendInt(dst, int64(r.LeaderEpoch), 10)
		case 'i':
			dst = strconv.AppendInt(dst, s.Number, 10)
		case ']':
			dst = strconv.AppendInt(dst, s.HighWatermark, 10)
		case 'H':
			dst = strconv.AppendInt(dst, int64(len(r.Headers)), 10)
		case 'h':
			dst = l.appendHeaders(dst, t, r.Headers)
		case 'd', 'T':
			if t.time.millis {
				dst = strconv.AppendInt(dst, r.Timestamp.UnixMilli(), 10)
			} else {
				dst = r.Timestamp.Local().AppendFormat(dst, t.time.layout)
			}
		default:
			dst = l.appendPart(dst, t, r.Key, r.Value)
		}
	}
	return dst
}

// appendPart appends a key or a value, or the length of one.
func (l *Layout) appendPart(dst []byte, t *token, key, value []byte) []byte {
	switch t.verb {
	case 'k':
		return l.appendBytes(dst, t.encode, key)
	case 'K':
		return strconv.AppendInt(dst, int64(len(key)), 10)
	case 'V', 'S':
		return strconv.AppendInt(dst, int64(len(value)), 10)
	default:
		return l.appendBytes(dst, t.encode, value)
	}
}

func (l *Layout) appendBytes(dst []byte, e encoding, b []byte) []byte {
	switch e {
	case hexadecimal:
		return hex.AppendEncode(dst, b)
	case base64Text:
		return base64.StdEncoding.AppendEncode(dst, b)
	case jsonText:
		if b == nil {
			return append(dst, "null"...)
		}
		return appendJSONString(dst, b)
	case plain:
	}
	if l.safe {
		return AppendSafe(dst, b)
	}
	return append(dst, b...)
}

func (l *Layout) appendHeaders(dst []byte, t *token, headers []record.Header) []byte {
	for i := range headers {
		h := &headers[i]
		if t.headers != nil {
			for j := range t.headers.tokens {
				if inner := &t.headers.tokens[j]; inner.verb == 0 {
					dst = append(dst, inner.literal...)
				} else {
					dst = t.headers.appendPart(dst, inner, []byte(h.Key), h.Value)
				}
			}
			continue
		}
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = l.appendBytes(dst, plain, []byte(h.Key))
		dst = append(dst, '=')
		dst = l.appendBytes(dst, plain, h.Value)
	}
	return dst
}

func appendJSONString(dst, b []byte) []byte {
	s, err := json.Marshal(string(b)) // invalid UTF-8 becomes U+FFFD
	if err != nil {
		return dst
	}
	return append(dst, s...)
}
