package recordfmt

import "unicode/utf8"

const hexDigits = "0123456789abcdef"

// AppendSafe appends b with control characters and what is not UTF-8 as \xNN;
// tabs and newlines stay.
func AppendSafe(dst, b []byte) []byte {
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		if control(r) || r == utf8.RuneError && n == 1 {
			for _, c := range b[:n] {
				dst = append(dst, '\\', 'x', hexDigits[c>>4], hexDigits[c&15])
			}
		} else {
			dst = append(dst, b[:n]...)
		}
		b = b[n:]
	}
	return dst
}

// control tells whether a terminal may act on the character: C0 without tab and
// newline, DEL, and C1.
func control(r rune) bool {
	return r < 0x20 && r != '\n' && r != '\t' || r >= 0x7f && r < 0xa0
}
