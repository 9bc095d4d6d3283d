package recordfmt

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/stelemq/stele/protocol/record"
)

// jsonRecord is a record as one JSON object. Bytes are text where they are
// UTF-8 and base64, under another name, where they are not: nothing is lost.
type jsonRecord struct {
	Topic     string          `json:"topic,omitempty"`
	Partition *int32          `json:"partition,omitempty"`
	Offset    *int64          `json:"offset,omitempty"`
	Timestamp json.RawMessage `json:"timestamp,omitempty"`
	Key       *string         `json:"key"`
	Key64     []byte          `json:"key_base64,omitempty"`
	Value     *string         `json:"value"`
	Value64   []byte          `json:"value_base64,omitempty"`
	Headers   jsonHeaders     `json:"headers,omitempty"`
}

type jsonHeader struct {
	Key     string  `json:"key"`
	Value   *string `json:"value"`
	Value64 []byte  `json:"value_base64,omitempty"`
}

// jsonHeaders is written as a list, which keeps order and repetition, and read
// from a list or from an object of strings.
type jsonHeaders []jsonHeader

// UnmarshalJSON reads either form.
func (h *jsonHeaders) UnmarshalJSON(b []byte) error {
	if trimmed := bytes.TrimSpace(b); len(trimmed) > 0 && trimmed[0] == '{' {
		return h.unmarshalObject(trimmed)
	}
	var list []jsonHeader
	if err := json.Unmarshal(b, &list); err != nil {
		return fmt.Errorf("headers: %w", err)
	}
	*h = list
	return nil
}

func (h *jsonHeaders) unmarshalObject(b []byte) error {
	d := json.NewDecoder(bytes.NewReader(b))
	if _, err := d.Token(); err != nil {
		return fmt.Errorf("headers: %w", err)
	}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return fmt.Errorf("headers: %w", err)
		}
		var value *string
		if err := d.Decode(&value); err != nil {
			return fmt.Errorf("header %v: %w", name, err)
		}
		*h = append(*h, jsonHeader{Key: fmt.Sprint(name), Value: value})
	}
	return nil
}

// text returns bytes as text, or as base64 if they are not.
func text(b []byte) (*string, []byte) {
	switch {
	case b == nil:
		return nil, nil
	case utf8.Valid(b):
		s := string(b)
		return &s, nil
	default:
		return nil, b
	}
}

func untext(s *string, b64 []byte) []byte {
	switch {
	case s != nil:
		return []byte(*s)
	case len(b64) > 0:
		return b64
	default:
		return nil
	}
}

// AppendJSON appends the record as one line of JSON.
func AppendJSON(dst []byte, r *Record) []byte {
	j := jsonRecord{Topic: r.Topic, Partition: &r.Partition, Offset: &r.Offset}
	j.Timestamp = fmt.Append(nil, r.Timestamp.UnixMilli())
	j.Key, j.Key64 = text(r.Key)
	j.Value, j.Value64 = text(r.Value)
	for i := range r.Headers {
		h := jsonHeader{Key: r.Headers[i].Key}
		h.Value, h.Value64 = text(r.Headers[i].Value)
		j.Headers = append(j.Headers, h)
	}
	b, err := json.Marshal(&j)
	if err != nil { // none of the fields can fail
		return fmt.Appendf(dst, "{\"error\":%q}\n", err)
	}
	return append(append(dst, b...), '\n')
}

// ParseJSON reads a record from JSON. Without a partition, Partition is -1;
// without a timestamp, Timestamp is zero.
func ParseJSON(b []byte) (*Record, error) {
	var j jsonRecord
	if err := json.Unmarshal(b, &j); err != nil {
		return nil, fmt.Errorf("not a record in JSON: %w", err)
	}
	r := &Record{Topic: j.Topic, Partition: -1, Key: untext(j.Key, j.Key64), Value: untext(j.Value, j.Value64)}
	if j.Partition != nil {
		r.Partition = *j.Partition
	}
	for i := range j.Headers {
		h := &j.Headers[i]
		r.Headers = append(r.Headers, record.Header{Key: h.Key, Value: untext(h.Value, h.Value64)})
	}
	if len(j.Timestamp) == 0 || string(j.Timestamp) == "null" {
		return r, nil
	}
	var millis int64
	var iso time.Time
	if json.Unmarshal(j.Timestamp, &millis) == nil {
		r.Timestamp = time.UnixMilli(millis)
	} else if json.Unmarshal(j.Timestamp, &iso) == nil {
		r.Timestamp = iso
	} else {
		return nil, fmt.Errorf("timestamp %s: want milliseconds since 1970 or RFC 3339", j.Timestamp)
	}
	return r, nil
}
