package config

import (
	"errors"
	"fmt"
	"strings"
)

// ErrInvalid is what a [*ProblemsError] is.
var ErrInvalid = errors.New("config: invalid settings")

// Problem is one thing that is wrong with the settings, or worth a warning.
type Problem struct {
	// Where it stands: "broker.yaml:12", "--set", "STELE_LOG_DIRS"; empty where no place is to blame.
	Where string
	// Key of the setting, empty where none is.
	Key string
	// Text says what is wrong and what to do.
	Text string
	// Warning: the settings can be used.
	Warning bool
}

// String is the problem in one line.
func (p Problem) String() string {
	var b strings.Builder
	if p.Where != "" {
		b.WriteString(p.Where + ": ")
	}
	if p.Warning {
		b.WriteString("warning: ")
	}
	if p.Key != "" {
		b.WriteString(p.Key + ": ")
	}
	b.WriteString(p.Text)
	return b.String()
}

// ProblemsError holds everything that is wrong with a set of settings.
type ProblemsError struct {
	// Problems, warnings included, in the order of the sources.
	Problems []Problem
}

// Error lists the problems, one per line.
func (e *ProblemsError) Error() string {
	lines := make([]string, 0, len(e.Problems))
	for _, p := range e.Problems {
		lines = append(lines, p.String())
	}
	return strings.Join(lines, "\n")
}

// Is makes it an ErrInvalid.
func (e *ProblemsError) Is(target error) bool { return target == ErrInvalid }

func unknownKey(where, key string, names []string) Problem {
	text := fmt.Sprintf("unknown key %q", key)
	if s := Suggest(key, names); s != "" {
		text += fmt.Sprintf(" — did you mean %q?", s)
	}
	return Problem{Where: where, Text: text}
}
