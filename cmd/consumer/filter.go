package main

import (
	"regexp"
	"strings"

	"github.com/stelemq/stele/client"
	"github.com/stelemq/stele/internal/cli"
)

// filter is one --grep.
type filter struct {
	part byte // k, v or h
	name string
	re   *regexp.Regexp
}

// parseFilter reads k:RE, v:RE and h:NAME=RE. Without a prefix it is the value
// that must match.
func parseFilter(s string) (filter, error) {
	f := filter{part: 'v'}
	expr := s
	if len(s) >= 2 && s[1] == ':' && strings.IndexByte("kvh", s[0]) >= 0 {
		f.part, expr = s[0], s[2:]
	}
	if f.part == 'h' {
		name, value, ok := strings.Cut(expr, "=")
		if !ok {
			value = "" // the header exists
		}
		f.name, expr = name, value
	}
	re, err := regexp.Compile(expr)
	if err != nil {
		return f, cli.Usagef("--grep %s: %v", s, err)
	}
	f.re = re
	return f, nil
}

func (f *filter) match(r *client.Record) bool {
	switch f.part {
	case 'k':
		return r.Key != nil && f.re.Match(r.Key)
	case 'h':
		for i := range r.Headers {
			if r.Headers[i].Key == f.name && f.re.Match(r.Headers[i].Value) {
				return true
			}
		}
		return false
	default:
		return r.Value != nil && f.re.Match(r.Value)
	}
}

// matches tells whether a record passes all filters.
func matches(filters []filter, r *client.Record) bool {
	for i := range filters {
		if !filters[i].match(r) {
			return false
		}
	}
	return true
}
