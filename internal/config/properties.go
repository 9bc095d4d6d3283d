package config

import (
	"strconv"
	"strings"
)

// parseProperties reads Java's properties format, as Kafka's server.properties has it.
func parseProperties(name string, text []byte) ([]entry, []Problem) {
	var entries []entry
	var problems []Problem
	lines := strings.Split(strings.ReplaceAll(string(text), "\r\n", "\n"), "\n")
	for i := 0; i < len(lines); i++ {
		first := i + 1
		line := strings.TrimLeft(lines[i], " \t\f")
		if line == "" || line[0] == '#' || line[0] == '!' {
			continue
		}
		for continues(line) {
			line = line[:len(line)-1]
			if i+1 == len(lines) {
				break
			}
			i++
			line += strings.TrimLeft(lines[i], " \t\f")
		}
		key, value := splitProperty(line)
		key, keyErr := unescape(key)
		value, valueErr := unescape(value)
		if keyErr != nil || valueErr != nil {
			problems = append(problems, Problem{Where: name + ":" + strconv.Itoa(first), Text: `a \u is not followed by four hexadecimal digits`})
			continue
		}
		entries = append(entries, entry{key, strings.TrimRight(value, " \t"), first})
	}
	return entries, problems
}

// continues reports whether the line ends in an odd number of backslashes.
func continues(line string) bool {
	trimmed := strings.TrimRight(line, `\`)
	return (len(line)-len(trimmed))%2 == 1
}

// splitProperty cuts at the first unescaped '=', ':' or blank.
func splitProperty(line string) (key, value string) {
	end := len(line)
	for i := 0; i < len(line); i++ {
		if line[i] == '\\' {
			i++
			continue
		}
		if strings.IndexByte("=: \t\f", line[i]) >= 0 {
			end = i
			break
		}
	}
	rest := strings.TrimLeft(line[end:], " \t\f")
	if rest != "" && (rest[0] == '=' || rest[0] == ':') {
		rest = strings.TrimLeft(rest[1:], " \t\f")
	}
	return line[:end], rest
}

func unescape(text string) (string, error) {
	if !strings.Contains(text, `\`) {
		return text, nil
	}
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] != '\\' || i+1 == len(text) {
			b.WriteByte(text[i])
			continue
		}
		i++
		switch text[i] {
		case 't':
			b.WriteByte('\t')
		case 'n':
			b.WriteByte('\n')
		case 'r':
			b.WriteByte('\r')
		case 'f':
			b.WriteByte('\f')
		case 'u':
			if i+5 > len(text) {
				return "", strconv.ErrSyntax
			}
			r, err := strconv.ParseUint(text[i+1:i+5], 16, 32)
			if err != nil {
				return "", strconv.ErrSyntax
			}
			b.WriteRune(rune(r)) //nolint:gosec // four hexadecimal digits fit
			i += 4
		default:
			b.WriteByte(text[i])
		}
	}
	return b.String(), nil
}
