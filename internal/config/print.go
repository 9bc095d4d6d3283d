package config

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
)

// Line is one setting as `config print` shows it.
type Line struct {
	Key     string `json:"key"`
	Value   string `json:"value"`
	Default string `json:"default"`
	Source  string `json:"source"`
	Origin  string `json:"origin"`
}

// Lines are the settings, in the order of the documentation; with diff only those that differ from the
// default outside development.
func (c *Config) Lines(diff bool) []Line {
	var lines []Line
	for _, f := range Fields() {
		value := c.Value(f)
		if diff && reflect.DeepEqual(value, f.DefaultValue()) {
			continue
		}
		o := c.Origins[f.Key]
		lines = append(lines, Line{f.Key, f.Text(value), f.Text(f.DefaultValue()), o.Source, o.String()})
	}
	return lines
}

// YAML are lines in the form that Load reads; with origin each says where it came from.
func YAML(lines []Line, origin bool) string {
	var b strings.Builder
	for _, l := range lines {
		text := l.Key + ": " + yamlText(l.Value)
		if origin {
			text = fmt.Sprintf("%-60s # %s", text, l.Origin)
		}
		b.WriteString(text + "\n")
	}
	return b.String()
}

// yamlText quotes what YAML would read as something else.
func yamlText(value string) string {
	if value == "" || strings.HasPrefix(value, ":") || strings.ContainsAny(value, "#\"'{}[]&*!|>%@`\n\t") || strings.Contains(value, ": ") {
		return strconv.Quote(value)
	}
	return value
}

// Reference is configs/full-reference.yaml: every setting with its default and what it does.
func Reference() string {
	var b strings.Builder
	b.WriteString("# Every setting with its default. Generated: change internal/config and run `make docs`.\n")
	b.WriteString("# Nested keys and dotted keys mean the same. Units: KiB MiB GiB, ms s min h d.\n")
	heading := ""
	for _, f := range Fields() {
		if f.Group != heading {
			heading = f.Group
			b.WriteString("\n# ---- " + heading + "\n")
		}
		b.WriteString("\n")
		for _, line := range wrap(f.Doc+f.facts(), 100) {
			b.WriteString("# " + line + "\n")
		}
		b.WriteString(f.Key + ": " + yamlText(f.Text(f.DefaultValue())) + "\n")
	}
	return b.String()
}

// facts are the bounds and further names of a setting, as a sentence or two.
func (f Field) facts() string {
	var facts []string
	if len(f.Enum) > 0 {
		facts = append(facts, "One of "+strings.Join(f.Enum, ", ")+".")
	}
	switch {
	case f.Min != "" && f.Max != "":
		facts = append(facts, "From "+f.bound(f.Min)+" to "+f.bound(f.Max)+".")
	case f.Min != "":
		facts = append(facts, "At least "+f.bound(f.Min)+".")
	}
	for _, a := range f.Aliases {
		text := "Also " + a.Name
		if a.Unit != f.Unit {
			text += " (in " + a.Unit + ")"
		}
		facts = append(facts, text+".")
	}
	if f.Kind == KindDuration && f.Unit != "" {
		facts = append(facts, "A plain number is in "+f.Unit+".")
	}
	if len(facts) == 0 {
		return ""
	}
	return " " + strings.Join(facts, " ")
}

func (f Field) bound(text string) string {
	n, err := f.number(text, f.Unit)
	if err != nil {
		return text
	}
	return f.Text(n)
}

func wrap(text string, width int) []string {
	var lines []string
	line := ""
	for word := range strings.FieldsSeq(text) {
		if line != "" && len(line)+1+len(word) > width {
			lines = append(lines, line)
			line = ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	return append(lines, line)
}
