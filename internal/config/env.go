package config

import (
	"os"
	"regexp"
	"slices"
	"strings"
)

// Prefixes of environment variables.
const (
	envPrefix      = "STELE_"
	envKafkaPrefix = "KAFKA_"
	envFileSuffix  = "_FILE"
)

// EnvName is the environment variable of a setting.
func EnvName(key string) string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(key, ".", "_"))
}

// envKafkaName is the variable that Apache Kafka's container image takes for a setting.
func envKafkaName(key string) string {
	return envKafkaPrefix + strings.ToUpper(strings.NewReplacer(".", "_", "_", "__", "-", "___").Replace(key))
}

// envKafkaKey is the setting that such a variable stands for.
func envKafkaKey(name string) string {
	const hyphen, underscore = "\x00", "\x01"
	key := strings.ToLower(strings.TrimPrefix(name, envKafkaPrefix))
	key = strings.ReplaceAll(key, "___", hyphen)
	key = strings.ReplaceAll(key, "__", underscore)
	key = strings.ReplaceAll(key, "_", ".")
	return strings.NewReplacer(hyphen, "-", underscore, "_").Replace(key)
}

// envNames are the variables of a setting, the first that is set wins, and the name each stands for.
func envNames(f Field) (variables, keys []string) {
	keys = append(keys, f.Key)
	for _, a := range f.Aliases {
		keys = append(keys, a.Name)
	}
	for _, k := range keys {
		variables = append(variables, EnvName(k))
	}
	for _, k := range keys {
		variables = append(variables, envKafkaName(k))
	}
	return variables, append(slices.Clone(keys), keys...)
}

// linkNoise are variables that Docker links and Kubernetes services make for a service named stele.
func linkNoise(name, value string) bool {
	return strings.HasPrefix(value, "tcp://") || strings.HasPrefix(value, "udp://") ||
		regexp.MustCompile(`_(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT(_\d+_(TCP|UDP)(_(ADDR|PORT|PROTO))?)?)$`).MatchString(name)
}

// environment sorts the variables of the process that are meant for the broker.
type environment struct {
	schema   schema
	values   map[string]string // of known variables, values of *_FILE ones under the name without it
	files    map[string]bool   // variables in values that came from a *_FILE one
	problems []Problem
}

// readEnvironment reads variables as os.Environ has them.
func readEnvironment(s schema, variables []string) environment {
	e := environment{schema: s, values: map[string]string{}, files: map[string]bool{}}
	known := map[string]bool{}
	for _, f := range s.fields {
		names, _ := envNames(f)
		for _, n := range names {
			known[n] = true
		}
	}
	slices.Sort(variables)
	for _, v := range variables {
		name, value, _ := strings.Cut(v, "=")
		switch base, isFile := strings.CutSuffix(name, envFileSuffix); {
		case value == "", name == envPrefix+"BROKERS": // for commands
		case known[name]:
			e.values[name] = value
		case linkNoise(name, value):
		case isFile && known[base] && strings.HasPrefix(name, envPrefix):
			e.file(name, base, value, variables)
		case strings.HasPrefix(name, envPrefix):
			e.unknown(name)
		case strings.HasPrefix(name, envKafkaPrefix):
			e.kafka(name)
		}
	}
	return e
}

// file takes the value of variable base from the file that variable name points to.
func (e *environment) file(name, base, path string, variables []string) {
	if slices.ContainsFunc(variables, func(v string) bool { return strings.HasPrefix(v, base+"=") && v != base+"=" }) {
		e.problems = append(e.problems, Problem{Where: name, Text: "is set together with " + base + "; keep one"})
		return
	}
	text, err := os.ReadFile(path) //nolint:gosec // the operator names the file
	if err != nil {
		e.problems = append(e.problems, Problem{Where: name, Text: err.Error()})
		return
	}
	e.values[base] = strings.TrimRight(string(text), "\r\n")
	e.files[base] = true
}

func (e *environment) unknown(name string) {
	names := make([]string, 0, len(e.schema.fields))
	for _, n := range e.schema.names() {
		names = append(names, EnvName(n))
	}
	p := Problem{Where: name, Text: "this variable means nothing", Warning: true}
	if s := Suggest(name, names); s != "" {
		p.Text += " — did you mean " + s + "?"
	}
	e.problems = append(e.problems, p)
}

// kafka judges a KAFKA_ variable that is no setting here: those of Kafka's start scripts are not meant for us.
func (e *environment) kafka(name string) {
	if o, ok := e.schema.other(envKafkaKey(name)); ok {
		e.problems = append(e.problems, o.problem(name, envKafkaKey(name)))
	}
}

func (o Other) problem(where, key string) Problem {
	if o.Refused {
		return Problem{Where: where, Key: key, Text: "refused: " + o.Why}
	}
	return Problem{Where: where, Key: key, Text: "ignored: " + o.Why, Warning: true}
}
