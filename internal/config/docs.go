package config

import (
	"fmt"
	"strings"
)

// Markdown is docs/config.md.
func Markdown() string {
	var b strings.Builder
	b.WriteString(`# Settings

<!-- Generated from internal/config: change it there and run "make docs". -->

A setting comes from, the first that has it:

1. the command line: ` + "`broker start --set key=value`" + `, any key, repeatable;
2. the environment: ` + "`STELE_LOG_DIRS`" + ` for ` + "`log.dirs`" + `, or ` + "`STELE_LOG_DIRS_FILE`" + ` naming a file that holds the value; then
   ` + "`KAFKA_LOG_DIRS`" + `, as Apache Kafka's container image has it;
3. the file given by ` + "`-c`" + `: YAML with dotted or nested keys, or a Kafka ` + "`server.properties`" + `;
4. the default.

` + "`broker config check`" + ` names every mistake with its line, ` + "`broker config print --origin`" + ` shows where each value came from.

Sizes are bytes or take B, KiB, MiB, GiB (or kB, MB, GB); times take ms, s, min, h, d (` + "`7d`, `1h30m`" + `), and a plain number where the
table names its unit. Status: **K** as Kafka's, **A** adapted as described, no letter: Stele's own.
The column *live* says whether a value may change without a restart where the cluster or a topic changes it.
`)
	heading := ""
	for _, f := range Fields() {
		if f.Group != heading {
			heading = f.Group
			b.WriteString("\n## " + heading + "\n\n| key | default | status | live | meaning |\n|---|---|---|---|---|\n")
		}
		live := ""
		if f.Dynamic {
			live = "yes"
		}
		value := f.Text(f.DefaultValue())
		if value == "" {
			value = "(empty)"
		}
		if f.Dev != f.Default {
			value += " (dev: " + f.Dev + ")"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s |\n", f.Key, escapeCell(value), f.Status, live, escapeCell(f.Doc+f.facts()))
	}
	b.WriteString("\n## Kafka's settings that have no meaning here\n\n| key | what happens | why |\n|---|---|---|\n")
	for _, o := range Others() {
		what := "ignored, with a warning"
		if o.Refused {
			what = "**refused**"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", o.Key, what, escapeCell(o.Why))
	}
	return b.String()
}

func escapeCell(text string) string { return strings.ReplaceAll(text, "|", `\|`) }

// Describe is what `config docs KEY` prints of one setting; false if there is no such key.
func Describe(key string) (string, bool) {
	s := parseSchema()
	f, _, ok := s.lookup(key)
	if !ok {
		o, found := s.other(key)
		if !found {
			return "", false
		}
		what := "ignored"
		if o.Refused {
			what = "refused"
		}
		return fmt.Sprintf("%s\n  %s: %s\n", key, what, o.Why), true
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n", f.Key)
	for _, line := range wrap(f.Doc+f.facts(), 96) {
		b.WriteString("  " + line + "\n")
	}
	fmt.Fprintf(&b, "  type         %s\n  default      %s\n", f.Kind, f.Text(f.DefaultValue()))
	if f.Dev != f.Default {
		fmt.Fprintf(&b, "  dev default  %s\n", f.Dev)
	}
	fmt.Fprintf(&b, "  environment  %s\n", EnvName(f.Key))
	status := map[string]string{"K": "as Kafka's", "A": "adapted from Kafka's", "": "Stele's own"}[f.Status]
	fmt.Fprintf(&b, "  status       %s\n", status)
	return b.String(), true
}

// Names are all keys, without aliases.
func Names() []string {
	var names []string
	for _, f := range Fields() {
		names = append(names, f.Key)
	}
	return names
}
