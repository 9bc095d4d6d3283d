package topicconfig

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Schema is Defs made ready for look-up. Immutable.
type Schema struct {
	defs   []Def
	byName map[string]*Def
}

// NewSchema builds the schema.
func NewSchema() *Schema {
	s := &Schema{defs: Defs(), byName: map[string]*Def{}}
	for i := range s.defs {
		s.byName[s.defs[i].Name] = &s.defs[i]
	}
	return s
}

// Defs returns the schema's definitions, sorted by name; read only.
func (s *Schema) Defs() []Def { return s.defs }

// Lookup finds a definition.
func (s *Schema) Lookup(name string) (*Def, bool) { d, ok := s.byName[name]; return d, ok }

// Validate checks one configuration as Kafka's LogConfig.validate does; the error is a sentence for the
// client.
func (s *Schema) Validate(name, value string) error {
	d, ok := s.byName[name]
	if !ok {
		return fmt.Errorf("Unknown topic config name: %s", name) //nolint:staticcheck,revive // Kafka's words, for the client
	}
	return d.Validate(value)
}

// ValidateAll checks the configurations of one topic and what must hold between them.
func (s *Schema) ValidateAll(configs map[string]string) error {
	names := make([]string, 0, len(configs))
	for name := range configs {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		if err := s.Validate(name, configs[name]); err != nil {
			return err
		}
	}
	least, ok1 := configs["min.compaction.lag.ms"]
	most, ok2 := configs["max.compaction.lag.ms"]
	if ok1 && ok2 {
		a, _ := strconv.ParseInt(least, 10, 64)
		b, _ := strconv.ParseInt(most, 10, 64)
		if a > b {
			return fmt.Errorf("conflict topic config setting min.compaction.lag.ms (%d) > max.compaction.lag.ms (%d)", a, b)
		}
	}
	return nil
}

// Validate checks a value.
func (d *Def) Validate(value string) error {
	if err := d.validateType(value); err != nil || d.check == nil {
		return err
	}
	if wrong := d.check(value); wrong != "" {
		return d.invalid(value, wrong)
	}
	return nil
}

func (d *Def) validateType(value string) error {
	switch d.Type {
	case Boolean:
		if !strings.EqualFold(value, "true") && !strings.EqualFold(value, "false") {
			return d.invalid(value, "Expected value to be either true or false")
		}
	case Int, Long, Double:
		return d.validateNumber(value)
	case List:
		return d.validateList(value)
	case String:
		if len(d.Values) > 0 && !slices.Contains(d.Values, value) {
			return d.invalid(value, "String must be one of: "+strings.Join(d.Values, ", "))
		}
	}
	return nil
}

func (d *Def) validateNumber(value string) error {
	value = strings.TrimSpace(value)
	var number float64
	switch d.Type {
	case Int:
		n, err := strconv.ParseInt(value, 10, 32)
		if err != nil {
			return d.invalid(value, "Not a number of type INT")
		}
		number = float64(n)
	case Long:
		n, err := strconv.ParseInt(value, 10, 64)
		if err != nil {
			return d.invalid(value, "Not a number of type LONG")
		}
		number = float64(n)
	default:
		n, err := strconv.ParseFloat(value, 64)
		if err != nil || n != n { //nolint:gocritic // n != n is true of NaN
			return d.invalid(value, "Not a number of type DOUBLE")
		}
		number = n
	}
	if number < d.Min {
		return d.invalid(value, "Value must be at least "+strconv.FormatFloat(d.Min, 'f', -1, 64))
	}
	if number > d.Max {
		return d.invalid(value, "Value must be no more than "+strconv.FormatFloat(d.Max, 'f', -1, 64))
	}
	return nil
}

func (d *Def) validateList(value string) error {
	if len(d.Values) == 0 {
		return nil
	}
	if strings.TrimSpace(value) == "" {
		return nil // nothing is ever removed
	}
	for p := range strings.SplitSeq(value, ",") { // one may be named twice
		if p = strings.TrimSpace(p); !slices.Contains(d.Values, p) {
			return d.invalid(p, "String must be one of: "+strings.Join(d.Values, ", "))
		}
	}
	return nil
}

func (d *Def) invalid(value, why string) error {
	return fmt.Errorf("Invalid value %s for configuration %s: %s", value, d.Name, why) //nolint:staticcheck,revive // Kafka's words, for the client
}

// SplitList splits a comma-separated value.
func SplitList(value string) []string {
	var out []string
	for p := range strings.SplitSeq(value, ",") {
		if p = strings.TrimSpace(p); p != "" {
			out = append(out, p)
		}
	}
	return out
}

// Source is where a value comes from; the numbers are those of DescribeConfigs v1.
type Source int8

// Sources in order of precedence.
const (
	SourceTopic         Source = 1
	SourceDynamicBroker Source = 2
	SourceDynamicAll    Source = 3
	SourceStaticBroker  Source = 4
	SourceDefault       Source = 5
)

// Value is a value and where it comes from: an element of the chain that a name is looked up in.
type Value struct {
	Name, Value string
	Source      Source
}

// Inherited looks a broker setting up: all values that it has, in order of precedence.
type Inherited func(name string) []Value

// Resolve returns every value that one configuration of a topic has, in order of precedence: the first
// one holds. There is always at least one.
func Resolve(d *Def, topic map[string]string, inherited Inherited, replicas int) []Value {
	var out []Value
	if v, ok := topic[d.Name]; ok {
		out = append(out, Value{d.Name, v, SourceTopic})
	}
	var defaults []Value
	for _, s := range d.Synonyms {
		for _, v := range inherited(s.Name) {
			v.Value = scale(v.Value, s.Unit)
			v.Value = auto(v.Value, replicas)
			if v.Value == "" {
				continue
			}
			if v.Source == SourceDefault {
				defaults = append(defaults, v)
			} else {
				out = append(out, v)
			}
		}
	}
	slices.SortStableFunc(out, func(a, b Value) int { return int(a.Source) - int(b.Source) })
	if len(defaults) > 0 {
		return append(out, defaults[0])
	}
	name := d.Name
	if len(d.Synonyms) > 0 {
		name = d.Synonyms[len(d.Synonyms)-1].Name
	}
	return append(out, Value{name, auto(d.Default, replicas), SourceDefault})
}

func scale(value string, unit int64) string {
	if unit <= 1 || value == "" {
		return value
	}
	n, err := strconv.ParseInt(value, 10, 64)
	if err != nil || n < 0 {
		return value
	}
	return strconv.FormatInt(n*unit, 10)
}

func auto(value string, replicas int) string {
	if value == Auto {
		return strconv.Itoa(replicas/2 + 1)
	}
	return value
}
