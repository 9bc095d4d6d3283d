package config

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// entry is one setting as a file has it.
type entry struct {
	key, value string
	line       int
}

// parseYAML flattens a YAML file: nested keys are joined by dots, lists by commas. name is for messages.
func parseYAML(name string, text []byte) ([]entry, []Problem) {
	var document yaml.Node
	if err := yaml.Unmarshal(text, &document); err != nil {
		return nil, []Problem{yamlProblem(name, err)}
	}
	if len(document.Content) == 0 {
		return nil, nil
	}
	f := flattener{name: name}
	f.mapping("", document.Content[0])
	return f.entries, f.problems
}

// yamlProblem moves the line of a syntax error to where a reader expects it.
func yamlProblem(name string, err error) Problem {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	if m := regexp.MustCompile(`^line (\d+): (.*)`).FindStringSubmatch(text); m != nil {
		return Problem{Where: name + ":" + m[1], Text: m[2]}
	}
	return Problem{Where: name, Text: text}
}

type flattener struct {
	name     string
	entries  []entry
	problems []Problem
}

func (f *flattener) problem(line int, key, format string, args ...any) {
	f.problems = append(f.problems, Problem{
		Where: f.name + ":" + strconv.Itoa(line), Key: key, Text: fmt.Sprintf(format, args...),
	})
}

func (f *flattener) mapping(prefix string, node *yaml.Node) {
	if node.Kind != yaml.MappingNode {
		f.problem(node.Line, prefix, "want lines of the form key: value")
		return
	}
	for i := 0; i+1 < len(node.Content); i += 2 {
		key, value := node.Content[i], node.Content[i+1]
		if key.Kind != yaml.ScalarNode || key.Value == "<<" {
			f.problem(key.Line, prefix, "want a plain key")
			continue
		}
		f.pair(joinKey(prefix, key.Value), key.Line, value)
	}
}

func joinKey(prefix, key string) string {
	if prefix == "" {
		return key
	}
	return prefix + "." + key
}

func (f *flattener) pair(key string, line int, value *yaml.Node) {
	switch value.Kind {
	case yaml.MappingNode:
		f.mapping(key, value)
	case yaml.SequenceNode:
		items := make([]string, 0, len(value.Content))
		for _, item := range value.Content {
			if item.Kind != yaml.ScalarNode {
				f.problem(item.Line, key, "want a list of plain values")
				return
			}
			items = append(items, item.Value)
		}
		f.entries = append(f.entries, entry{key, strings.Join(items, ","), line})
	case yaml.ScalarNode:
		if value.Tag == "!!null" {
			f.problem(line, key, `has no value; remove the line for the default, write "" for nothing`)
			return
		}
		f.entries = append(f.entries, entry{key, value.Value, line})
	default:
		f.problem(line, key, "anchors and aliases are not supported")
	}
}
