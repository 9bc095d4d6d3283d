package recordfmt

import (
	"fmt"
	"strconv"
)

// AppendPretty appends the record for a reader: its place on one line, then
// headers, key and value.
func AppendPretty(dst []byte, r *Record, safe bool) []byte {
	show := func(b []byte) []byte {
		switch {
		case b == nil:
			return []byte("null")
		case safe:
			return AppendSafe(nil, b)
		default:
			return b
		}
	}
	dst = fmt.Appendf(dst, "%s-%d @ %d  %s\n", r.Topic, r.Partition, r.Offset, r.Timestamp.Local().Format(isoLocal))
	for i := range r.Headers {
		dst = append(dst, "  header "...)
		dst = append(dst, show([]byte(r.Headers[i].Key))...)
		dst = append(dst, " = "...)
		dst = append(append(dst, show(r.Headers[i].Value)...), '\n')
	}
	if r.Key != nil {
		dst = append(dst, "  key    "...)
		dst = append(append(dst, show(r.Key)...), '\n')
	}
	dst = append(dst, "  value  "...)
	dst = append(dst, show(r.Value)...)
	dst = append(dst, "  ("...)
	dst = strconv.AppendInt(dst, int64(len(r.Value)), 10)
	return append(dst, " bytes)\n\n"...)
}
