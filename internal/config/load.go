package config

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/viper"
)

// Override is a setting given on the command line.
type Override struct {
	Key, Value string
	// Where it was given, for messages: "--set", "--port".
	Where string
}

// ParseSet reads the value of a --set flag, key=value.
func ParseSet(text string) (Override, error) {
	key, value, ok := strings.Cut(text, "=")
	if !ok || strings.TrimSpace(key) == "" {
		return Override{}, fmt.Errorf("%w: --set %q: want key=value", ErrInvalid, text)
	}
	return Override{Key: strings.TrimSpace(key), Value: value, Where: "--set"}, nil
}

// Request says where settings come from.
type Request struct {
	// File is a YAML file, or Kafka's properties if it ends in .properties; empty: none.
	File string
	// Overrides, the last of a key wins.
	Overrides []Override
	// Dev takes the defaults of development.
	Dev bool
	// DefaultsOnly reads neither environment nor file nor overrides.
	DefaultsOnly bool
}

// Origin tells where a value came from.
type Origin struct {
	// Source is default, file, environment or flag.
	Source string
	// Where in it: "broker.yaml:12", "STELE_LOG_DIRS", "--set".
	Where string
	// unit of a plain number under the name that was used.
	unit string
	name string // the name that was used in a file
}

// String is what `config print --origin` shows.
func (o Origin) String() string {
	if o.Where == "" {
		return o.Source
	}
	return o.Where
}

// Sources of values.
const (
	SourceDefault     = "default"
	SourceFile        = "file"
	SourceEnvironment = "environment"
	SourceFlag        = "flag"
)

// Config is a loaded set of settings.
type Config struct {
	Settings
	// Origins by key.
	Origins map[string]Origin
	// Warnings do not keep the broker from starting.
	Warnings []Problem
}

// Load reads the settings. Errors: *ProblemsError with everything that is wrong.
func Load(r Request) (*Config, error) {
	l := loader{schema: parseSchema(), request: r, origins: map[string]Origin{}}
	// Keys contain dots: with viper's own delimiter they would become nested maps and lose dotted lines.
	l.viper = viper.NewWithOptions(viper.KeyDelimiter("::"))
	l.defaults()
	if !r.DefaultsOnly {
		l.file()
		l.environment()
		l.overrides()
	}
	c := &Config{Origins: l.origins}
	l.decode(&c.Settings)
	l.problems = append(l.problems, validate(&c.Settings, l.at, r.Dev)...)
	c.Warnings = slices.DeleteFunc(slices.Clone(l.problems), func(p Problem) bool { return !p.Warning })
	if len(c.Warnings) < len(l.problems) {
		return nil, &ProblemsError{Problems: l.problems}
	}
	return c, nil
}

// Value of a setting, as Field.Text and Field.KafkaText take it.
func (c *Config) Value(f Field) any { return f.value(&c.Settings) }

type loader struct {
	schema   schema
	request  Request
	viper    *viper.Viper
	origins  map[string]Origin
	problems []Problem
}

// at is where a key's value came from, "" for a default.
func (l *loader) at(key string) string { return l.origins[key].Where }

func (l *loader) defaults() {
	for _, f := range l.schema.fields {
		text := f.Default
		if l.request.Dev {
			text = f.Dev
		}
		l.viper.SetDefault(f.Key, text)
		l.origins[f.Key] = Origin{Source: SourceDefault, unit: f.Unit}
	}
}

func (l *loader) file() {
	name := l.request.File
	if name == "" {
		return
	}
	text, err := os.ReadFile(name) //nolint:gosec // the operator names the file
	if err != nil {
		l.problems = append(l.problems, Problem{Text: err.Error()})
		return
	}
	parse := parseYAML
	if strings.EqualFold(filepath.Ext(name), ".properties") {
		parse = parseProperties
	}
	entries, problems := parse(name, text)
	l.problems = append(l.problems, problems...)
	l.fileEntries(name, entries)
}

func (l *loader) fileEntries(name string, entries []entry) {
	values := map[string]any{}
	given := map[string]entry{}
	for _, e := range entries {
		where := fmt.Sprintf("%s:%d", name, e.line)
		if first, twice := given[e.key]; twice {
			l.problems = append(l.problems, Problem{Where: where, Key: e.key, Text: fmt.Sprintf("is set before, in line %d", first.line)})
			continue
		}
		given[e.key] = e
		f, unit, ok := l.known(where, e.key)
		if !ok {
			continue
		}
		if o := l.origins[f.Key]; o.Source == SourceFile && f.rank(e.key) > f.rank(o.name) {
			l.problems = append(l.problems, Problem{Where: where, Key: e.key, Text: "ignored: " + o.Where + " sets the same as " + f.Key, Warning: true})
			continue
		}
		values[f.Key] = e.value
		l.origins[f.Key] = Origin{SourceFile, where, unit, e.key}
	}
	if err := l.viper.MergeConfigMap(values); err != nil {
		l.problems = append(l.problems, Problem{Where: name, Text: err.Error()})
	}
}

// known finds a setting by name, or notes why there is none.
func (l *loader) known(where, key string) (Field, string, bool) {
	if f, unit, ok := l.schema.lookup(key); ok {
		return f, unit, true
	}
	if o, ok := l.schema.other(key); ok {
		l.problems = append(l.problems, o.problem(where, key))
	} else {
		l.problems = append(l.problems, unknownKey(where, key, l.schema.spellings()))
	}
	return Field{}, "", false
}

func (l *loader) environment() {
	e := readEnvironment(l.schema, os.Environ())
	l.problems = append(l.problems, e.problems...)
	for _, f := range l.schema.fields {
		variables, keys := envNames(f)
		// viper would also find them by AutomaticEnv, but only these may count.
		if err := l.viper.BindEnv(append([]string{f.Key}, variables...)...); err != nil {
			l.problems = append(l.problems, Problem{Key: f.Key, Text: err.Error()})
		}
		i := slices.IndexFunc(variables, func(v string) bool { _, ok := e.values[v]; return ok })
		if i < 0 {
			continue
		}
		_, unit, _ := l.schema.lookup(keys[i])
		where := variables[i]
		if e.files[where] {
			l.viper.Set(f.Key, e.values[where])
			where += envFileSuffix
		}
		l.origins[f.Key] = Origin{SourceEnvironment, where, unit, ""}
	}
}

func (l *loader) overrides() {
	for _, o := range l.request.Overrides {
		f, unit, ok := l.known(o.Where, o.Key)
		if !ok {
			continue
		}
		l.viper.Set(f.Key, o.Value)
		l.origins[f.Key] = Origin{SourceFlag, o.Where, unit, ""}
	}
}

// decode reads each value by our own parsers: viper's take 64MiB and 7d for zero and say nothing.
func (l *loader) decode(s *Settings) {
	for _, f := range l.schema.fields {
		o := l.origins[f.Key]
		value, err := f.parse(l.viper.GetString(f.Key), o.unit)
		if err != nil {
			l.problems = append(l.problems, Problem{Where: o.Where, Key: f.Key, Text: err.Error()})
			// The default, so that checks over several settings say nothing of this one.
			value = f.defaultValue(l.request.Dev)
		}
		f.set(s, value)
	}
}
