package config

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Kind is the type of a setting.
type Kind int

// Kinds of settings.
const (
	KindString Kind = iota
	KindBool
	KindInt
	KindSize
	KindDuration
	KindList
)

// String is the word for it in messages and docs.
func (k Kind) String() string {
	return [...]string{"text", "true or false", "number", "size", "time", "list"}[k]
}

// Alias is a further name of a setting.
type Alias struct {
	Name string
	// Unit of a plain number under this name.
	Unit string
}

// Field describes one setting, as the schema's tags do.
type Field struct {
	Key     string
	Aliases []Alias
	Kind    Kind
	// Bits of an integer, 16, 32 or 64.
	Bits int
	// Default and Dev as a user would write them.
	Default, Dev string
	// Unit of a plain number of a time; empty: a unit must be written.
	Unit     string
	Min, Max string
	Enum     []string
	Special  []Word
	Dynamic  bool
	// Status is K (as Kafka's), A (adapted) or empty (ours).
	Status string
	Group  string
	Doc    string

	index int
}

// Word stands for a number in a setting: auto, unlimited.
type Word struct {
	Name  string
	Value int64
}

// Other is a key of Kafka's that has no value here.
type Other struct {
	// Key may end in ".*".
	Key string
	// Refused keys are errors, others are ignored with a warning.
	Refused bool
	// Why it is so.
	Why string
}

// Matches reports whether key is meant by o.
func (o Other) Matches(key string) bool {
	if prefix, ok := strings.CutSuffix(o.Key, "*"); ok {
		return strings.HasPrefix(key, prefix)
	}
	return key == o.Key
}

// schema is the parsed form of the tags of Settings.
type schema struct {
	fields []Field
	others []Other
}

// parseSchema reads the tags. They are constants of this package and checked by its tests.
func parseSchema() schema {
	var s schema
	heading := ""
	structure := reflect.TypeFor[Settings]()
	for i := range structure.NumField() {
		f := structure.Field(i)
		switch f.Type {
		case reflect.TypeFor[group]():
			heading = f.Tag.Get("name")
		case reflect.TypeFor[ignored](), reflect.TypeFor[refused]():
			s.others = append(s.others, Other{
				Key: f.Tag.Get("key"), Why: f.Tag.Get("doc"), Refused: f.Type == reflect.TypeFor[refused](),
			})
		default:
			s.fields = append(s.fields, parseField(f, i, heading))
		}
	}
	return s
}

func parseField(f reflect.StructField, index int, heading string) Field {
	field := Field{
		Key: f.Tag.Get("key"), Default: f.Tag.Get("default"), Dev: f.Tag.Get("default"), Unit: f.Tag.Get("unit"),
		Min: f.Tag.Get("min"), Max: f.Tag.Get("max"), Dynamic: f.Tag.Get("dynamic") == "true",
		Status: f.Tag.Get("status"), Group: heading, Doc: f.Tag.Get("doc"), index: index,
	}
	if dev, ok := f.Tag.Lookup("dev"); ok {
		field.Dev = dev
	}
	if enum := f.Tag.Get("enum"); enum != "" {
		field.Enum = strings.Split(enum, "|")
	}
	if aliases := f.Tag.Get("alias"); aliases != "" {
		for a := range strings.SplitSeq(aliases, ",") {
			name, unit, scaled := strings.Cut(a, "=")
			if !scaled {
				unit = field.Unit
			}
			field.Aliases = append(field.Aliases, Alias{name, unit})
		}
	}
	if special := f.Tag.Get("special"); special != "" {
		for w := range strings.SplitSeq(special, "|") {
			name, value, _ := strings.Cut(w, "=")
			n, _ := strconv.ParseInt(value, 10, 64)
			field.Special = append(field.Special, Word{name, n})
		}
	}
	field.Kind, field.Bits = kindOf(f.Type)
	return field
}

func kindOf(t reflect.Type) (Kind, int) {
	switch t {
	case reflect.TypeFor[time.Duration]():
		return KindDuration, 64
	case reflect.TypeFor[Size]():
		return KindSize, 64
	case reflect.TypeFor[[]string]():
		return KindList, 0
	}
	switch t.Kind() {
	case reflect.Bool:
		return KindBool, 0
	case reflect.Int16, reflect.Int32, reflect.Int64, reflect.Int:
		return KindInt, t.Bits()
	default:
		return KindString, 0
	}
}

// Fields are all settings, in the order of the documentation.
func Fields() []Field { return parseSchema().fields }

// Others are the keys of Kafka's that are ignored or refused.
func Others() []Other { return parseSchema().others }

// Lookup finds a setting by its key or an alias.
func Lookup(key string) (Field, bool) {
	f, _, ok := parseSchema().lookup(key)
	return f, ok
}

// lookup finds a setting by key or alias, and the unit of a plain number under that name.
func (s schema) lookup(key string) (Field, string, bool) {
	for _, f := range s.fields {
		if f.Key == key {
			return f, f.Unit, true
		}
		for _, a := range f.Aliases {
			if a.Name == key {
				return f, a.Unit, true
			}
		}
	}
	return Field{}, "", false
}

// rank is the place of a name in the order of precedence of those of a setting: its key, then its aliases.
func (f Field) rank(name string) int {
	return 1 + slices.IndexFunc(f.Aliases, func(a Alias) bool { return a.Name == name })
}

func (s schema) other(key string) (Other, bool) {
	for _, o := range s.others {
		if o.Matches(key) {
			return o, true
		}
	}
	return Other{}, false
}

// names of all settings, aliases included.
func (s schema) names() []string {
	var names []string
	for _, f := range s.fields {
		names = append(names, f.Key)
		for _, a := range f.Aliases {
			names = append(names, a.Name)
		}
	}
	return names
}

// Meant is the known key that a misspelt one may have meant, aliases and ignored ones of Kafka's included; empty: none is near,
// or the key is known.
func Meant(key string) string {
	s := parseSchema()
	if _, _, known := s.lookup(key); known {
		return ""
	}
	return Suggest(key, s.spellings())
}

// spellings are the keys that a misspelt one may have meant: the settings and Kafka's that are ignored.
func (s schema) spellings() []string {
	keys := s.names()
	for _, o := range s.others {
		if !o.Refused && !strings.HasSuffix(o.Key, "*") {
			keys = append(keys, o.Key)
		}
	}
	return keys
}

// parse reads text as a value of the field; plain is the unit of a plain number. The value is an int64
// (numbers, sizes, times in nanoseconds), bool, string or []string.
func (f Field) parse(text, plain string) (any, error) {
	text = strings.TrimSpace(text)
	for _, w := range f.Special {
		if strings.EqualFold(text, w.Name) || w.Value < 0 && text == strconv.FormatInt(w.Value, 10) {
			return w.Value, nil
		}
	}
	switch f.Kind {
	case KindBool:
		switch strings.ToLower(text) {
		case "true":
			return true, nil
		case "false":
			return false, nil
		}
		return nil, fmt.Errorf("%q is neither true nor false", text)
	case KindList:
		return splitList(text), nil
	case KindString:
		return f.parseWord(text)
	case KindInt, KindSize, KindDuration:
	}
	n, err := f.number(text, plain)
	if err != nil {
		return nil, err
	}
	return n, f.bounds(n)
}

// defaultValue is the value of a setting that nobody sets.
func (f Field) defaultValue(dev bool) any {
	text := f.Default
	if dev {
		text = f.Dev
	}
	value, err := f.parse(text, f.Unit)
	if err != nil {
		return int64(0) // not reached: a test parses every default
	}
	return value
}

// DefaultValue is the value of a setting that nobody sets, outside development.
func (f Field) DefaultValue() any { return f.defaultValue(false) }

func (f Field) parseWord(text string) (any, error) {
	if len(f.Enum) == 0 {
		return text, nil
	}
	for _, e := range f.Enum {
		if strings.EqualFold(e, text) {
			return e, nil
		}
	}
	return nil, fmt.Errorf("%q is none of %s", text, strings.Join(f.Enum, ", "))
}

func (f Field) number(text, plain string) (int64, error) {
	switch f.Kind {
	case KindSize:
		n, err := ParseSize(text)
		return int64(n), err
	case KindDuration:
		d, err := ParseDuration(text, plain)
		return int64(d), err
	default:
		n, err := strconv.ParseInt(text, 10, f.Bits)
		if err != nil {
			return 0, fmt.Errorf("%q is not a whole number of %d bits", text, f.Bits)
		}
		return n, nil
	}
}

func (f Field) bounds(n int64) error {
	if f.Min != "" {
		if low, _ := f.number(f.Min, f.Unit); n < low {
			return fmt.Errorf("%s is below the least value, %s", f.Text(n), f.Min)
		}
	}
	if f.Max != "" {
		if high, _ := f.number(f.Max, f.Unit); n > high {
			return fmt.Errorf("%s is above the largest value, %s", f.Text(n), f.Max)
		}
	}
	return nil
}

func splitList(text string) []string {
	list := []string{}
	for item := range strings.SplitSeq(text, ",") {
		if item = strings.TrimSpace(item); item != "" {
			list = append(list, item)
		}
	}
	return list
}

// Text is a value as a user would write it.
func (f Field) Text(value any) string {
	switch v := value.(type) {
	case int64:
		if i := slices.IndexFunc(f.Special, func(w Word) bool { return w.Value == v }); i >= 0 {
			return f.Special[i].Name
		}
		switch f.Kind {
		case KindSize:
			return Size(v).String()
		case KindDuration:
			return FormatDuration(time.Duration(v))
		default:
			return strconv.FormatInt(v, 10)
		}
	case []string:
		return strings.Join(v, ",")
	default:
		return fmt.Sprint(v)
	}
}

// KafkaText is a value as Kafka's DescribeConfigs shows it: plain numbers, times in milliseconds.
func (f Field) KafkaText(value any) string {
	n, ok := value.(int64)
	switch {
	case !ok || f.Text(value) == "auto":
		return f.Text(value)
	case f.Kind == KindDuration && !slices.ContainsFunc(f.Special, func(w Word) bool { return w.Value == n }):
		if f.Unit == "m" {
			return strconv.FormatInt(int64(time.Duration(n)/time.Minute), 10)
		}
		return strconv.FormatInt(time.Duration(n).Milliseconds(), 10)
	default:
		return strconv.FormatInt(n, 10)
	}
}

// ParseText reads what a user writes, with units, or Kafka's plain number, and returns it as KafkaText does. Errors say what
// is wrong with it.
func (f Field) ParseText(text string) (string, error) {
	value, err := f.parse(text, f.Unit)
	if err != nil {
		return "", err
	}
	if list, ok := value.([]string); ok {
		return strings.Join(list, ","), nil
	}
	return f.KafkaText(value), nil
}

// value reads the field from s.
func (f Field) value(s *Settings) any {
	v := reflect.ValueOf(s).Elem().Field(f.index)
	switch f.Kind {
	case KindBool:
		return v.Bool()
	case KindList:
		return slices.Clone(v.Interface().([]string)) //nolint:forcetypeassert // Kind says so
	case KindString:
		return v.String()
	default:
		return v.Int()
	}
}

// set stores a value made by parse in s.
func (f Field) set(s *Settings, value any) {
	target := reflect.ValueOf(s).Elem().Field(f.index)
	switch v := value.(type) {
	case int64:
		target.SetInt(v)
	case bool:
		target.SetBool(v)
	case []string:
		target.Set(reflect.ValueOf(v))
	case string:
		target.SetString(v)
	}
}
