package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"
)

// output says how a command prints its answer.
type output struct {
	format    string
	noHeaders bool
}

func (o *output) addFlags(flags *pflag.FlagSet) {
	flags.StringVarP(&o.format, "output", "o", "text", "text, json, yaml or name")
	flags.BoolVar(&o.noHeaders, "no-headers", false, "leave out the line of column names")
}

// check refuses formats that do not exist.
func (o *output) check() error {
	if !slices.Contains([]string{"text", "json", "yaml", "name"}, o.format) {
		return usageErrorf("-o %s: want text, json, yaml or name", o.format)
	}
	return nil
}

// answer is what a command found, in all forms.
type answer struct {
	// Kind and Items are the envelope of JSON and YAML; the version of a kind grows when a field changes.
	kind  string
	items any
	// names are for -o name, one a line.
	names []string
	// sections are for -o text.
	sections []section
}

// section is a table, under a title if there is one.
type section struct {
	title  string
	header []string
	rows   [][]string
}

// envelope is the stable outer form of JSON and YAML.
type envelope struct {
	Kind    string `json:"kind"`
	Version int    `json:"version"`
	Items   any    `json:"items"`
}

func (o *output) write(w io.Writer, a answer) error {
	var text []byte
	var err error
	switch o.format {
	case "json":
		text, err = a.json()
	case "yaml":
		text, err = a.yaml()
	case "name":
		for _, n := range a.names {
			text = append(text, n+"\n"...)
		}
	default:
		text = a.table(o.noHeaders)
	}
	if err != nil {
		return fmt.Errorf("print: %w", err)
	}
	if _, err := w.Write(text); err != nil {
		return fmt.Errorf("print: %w", err)
	}
	return nil
}

func (a answer) json() ([]byte, error) {
	text, err := json.MarshalIndent(envelope{a.kind, 1, a.items}, "", "  ")
	return append(text, '\n'), err
}

// yaml is the JSON in YAML, so that both have the same names.
func (a answer) yaml() ([]byte, error) {
	text, err := a.json()
	if err != nil {
		return nil, err
	}
	var node yaml.Node
	if err := yaml.Unmarshal(text, &node); err != nil {
		return nil, err //nolint:wrapcheck // our own JSON
	}
	blockStyle(&node)
	return yaml.Marshal(&node) //nolint:wrapcheck // as above
}

func blockStyle(n *yaml.Node) {
	n.Style &^= yaml.FlowStyle | yaml.DoubleQuotedStyle
	for _, c := range n.Content {
		blockStyle(c)
	}
}

func (a answer) table(noHeaders bool) []byte {
	var b bytes.Buffer
	for i, s := range a.sections {
		if i > 0 {
			b.WriteByte('\n')
		}
		if s.title != "" {
			b.WriteString(s.title + "\n")
		}
		w := tabwriter.NewWriter(&b, 0, 8, 2, ' ', 0)
		if !noHeaders && len(s.header) > 0 {
			writeRow(w, s.header)
		}
		for _, row := range s.rows {
			writeRow(w, row)
		}
		_ = w.Flush() // into memory
	}
	return b.Bytes()
}

// writeRow separates cells; none is empty, so that awk counts columns right.
func writeRow(w io.Writer, cells []string) {
	shown := make([]string, len(cells))
	for i, c := range cells {
		shown[i] = c
		if c == "" {
			shown[i] = "-"
		}
	}
	fmt.Fprintln(w, strings.Join(shown, "\t"))
}
