package recordfmt

import (
	"fmt"
	"strconv"
	"strings"
)

// Layout is a parsed percent layout.
type Layout struct {
	tokens []token
	safe   bool
}

// token is a verb, or text between verbs.
type token struct {
	verb    byte   // 0: text
	literal []byte // of text
	encode  encoding
	time    timeFormat
	headers *Layout // of %h{...}
}

type encoding int8

const (
	plain encoding = iota
	hexadecimal
	base64Text
	jsonText
)

// timeFormat says how to show a timestamp: as milliseconds, or by a layout of
// package time.
type timeFormat struct {
	millis bool
	layout string
}

const isoLocal = "2006-01-02T15:04:05.000Z07:00"

// ParseLayout parses a percent layout.
func ParseLayout(s string) (*Layout, error) {
	return parseLayout(s, "vskSVKtpodTeihH]%")
}

func parseLayout(s, verbs string) (*Layout, error) {
	l := new(Layout)
	for len(s) > 0 {
		i := strings.IndexByte(s, '%')
		if i < 0 {
			i = len(s)
		}
		if i > 0 {
			text, err := unescape(s[:i])
			if err != nil {
				return nil, err
			}
			l.tokens = append(l.tokens, token{literal: text})
			s = s[i:]
			continue
		}
		if len(s) == 1 {
			return nil, fmt.Errorf("format ends with a lone %%; write %%%% for a percent sign")
		}
		verb := s[1]
		if strings.IndexByte(verbs, verb) < 0 {
			return nil, fmt.Errorf("format has no verb %%%c", verb)
		}
		s = s[2:]
		if verb == '%' {
			l.tokens = append(l.tokens, token{literal: []byte{'%'}})
			continue
		}
		t, rest, err := parseVerb(verb, s)
		if err != nil {
			return nil, err
		}
		l.tokens = append(l.tokens, t)
		s = rest
	}
	return l, nil
}

// parseVerb parses what may follow a verb in braces.
func parseVerb(verb byte, s string) (token, string, error) {
	t := token{verb: verb}
	switch verb {
	case 'd':
		t.time = timeFormat{millis: true}
	case 'T':
		t.time = timeFormat{layout: isoLocal}
	}
	if !strings.HasPrefix(s, "{") || !strings.ContainsRune("vskdTh", rune(verb)) {
		return t, s, nil
	}
	inner, rest, err := braces(s)
	if err != nil {
		return t, s, err
	}
	switch verb {
	case 'h':
		if t.headers, err = parseLayout(inner, "kvsKVS%"); err != nil {
			return t, s, err
		}
	case 'd', 'T':
		if t.time, err = parseTimeFormat(inner); err != nil {
			return t, s, err
		}
	default:
		switch inner {
		case "hex":
			t.encode = hexadecimal
		case "base64":
			t.encode = base64Text
		case "json":
			t.encode = jsonText
		default:
			return t, s, fmt.Errorf("%%%c{%s}: want {hex}, {base64} or {json}", verb, inner)
		}
	}
	return t, rest, nil
}

// braces cuts a balanced {...} from the beginning of s.
func braces(s string) (inner, rest string, err error) {
	depth := 0
	for i := range len(s) {
		switch s[i] {
		case '{':
			depth++
		case '}':
			if depth--; depth == 0 {
				return s[1:i], s[i+1:], nil
			}
		}
	}
	return "", "", fmt.Errorf("format has a { without }")
}

func parseTimeFormat(s string) (timeFormat, error) {
	switch {
	case s == "ms":
		return timeFormat{millis: true}, nil
	case strings.HasPrefix(s, "go[") && strings.HasSuffix(s, "]"):
		return timeFormat{layout: s[len("go[") : len(s)-1]}, nil
	case strings.HasPrefix(s, "strftime[") && strings.HasSuffix(s, "]"):
		layout, err := strftime(s[len("strftime[") : len(s)-1])
		return timeFormat{layout: layout}, err
	}
	return timeFormat{}, fmt.Errorf("time format {%s}: want {ms}, {go[...]} or {strftime[...]}", s)
}

// strftime translates the common verbs of strftime(3) for package time.
func strftime(s string) (string, error) {
	replace := map[byte]string{
		'Y': "2006", 'y': "06", 'm': "01", 'd': "02", 'H': "15", 'I': "03", 'M': "04", 'S': "05", 'p': "PM",
		'b': "Jan", 'B': "January", 'a': "Mon", 'A': "Monday", 'Z': "MST", 'z': "-0700", 'F': "2006-01-02", 'T': "15:04:05", '%': "%",
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '%' {
			b.WriteByte(s[i])
			continue
		}
		if i++; i == len(s) {
			return "", fmt.Errorf("strftime[%s] ends with a lone %%", s)
		}
		to, ok := replace[s[i]]
		if !ok {
			return "", fmt.Errorf("strftime[%s]: %%%c is not supported", s, s[i])
		}
		b.WriteString(to)
	}
	return b.String(), nil
}

// unescape resolves the backslash escapes of a layout's text.
func unescape(s string) ([]byte, error) {
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' {
			out = append(out, s[i])
			continue
		}
		if i++; i == len(s) {
			return nil, fmt.Errorf("format ends with a lone backslash")
		}
		switch s[i] {
		case 'n':
			out = append(out, '\n')
		case 't':
			out = append(out, '\t')
		case 'r':
			out = append(out, '\r')
		case '\\':
			out = append(out, '\\')
		case 'x':
			if i+2 >= len(s) {
				return nil, fmt.Errorf(`format has \x without two digits`)
			}
			b, err := strconv.ParseUint(s[i+1:i+3], 16, 8)
			if err != nil {
				return nil, fmt.Errorf(`format has \x%s: want two hexadecimal digits`, s[i+1:i+3])
			}
			out = append(out, byte(b))
			i += 2
		default:
			return nil, fmt.Errorf(`format has \%c: want \n \t \r \\ or \xNN`, s[i])
		}
	}
	return out, nil
}
