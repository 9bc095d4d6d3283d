package main

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/spf13/cobra"
)

// kafkaScript is one of Kafka's scripts, for those whose fingers know it.
type kafkaScript struct {
	name string
	// does are what it does and what does the same here; the first whose flag is given holds, an empty flag always does.
	does []kafkaAction
}

// kafkaAction translates one action of a script. In line, {flag:NAME} is the value given for a flag, or NAME; what stands
// in brackets is left out unless its flag was given, and repeated for each value.
type kafkaAction struct{ flag, line string }

// kafkaScripts is the table; docs/operations.md has it, too.
func kafkaScripts() []kafkaScript {
	return []kafkaScript{
		{"kafka-topics", []kafkaAction{
			{"create", "broker topic create {topic:NAME}[ -p {partitions}][ -r {replication-factor}][ -c {config}]"},
			{"delete", "broker topic delete {topic:NAME}"},
			{"alter", "broker topic add-partitions {topic:NAME} --to {partitions:TOTAL}"},
			{"under-replicated-partitions", "broker partition list[ {topic}] --under-replicated"},
			{"unavailable-partitions", "broker partition list[ {topic}] --offline"},
			{"under-min-isr-partitions", "broker partition list[ {topic}] --under-min-isr"},
			{"at-min-isr-partitions", "broker partition list[ {topic}] --at-min-isr"},
			{"describe", "broker topic describe {topic:NAME}"},
			{"", "broker topic list"},
		}},
		{"kafka-configs", []kafkaAction{
			{"add-config", "broker topic alter {entity-name:NAME} -c {add-config:KEY=VALUE}"},
			{"delete-config", "broker topic alter {entity-name:NAME} -c {delete-config:KEY}-"},
			{"", "broker topic describe {entity-name:NAME} --all-configs"},
		}},
		{"kafka-console-producer", []kafkaAction{{"", "producer -t {topic:NAME}"}}},
		{"kafka-consumer-groups", []kafkaAction{
			{"reset-offsets", "broker group seek {group:GROUP} --to WHERE"},
			{"delete-offsets", "broker group offset-delete {group:GROUP} -t {topic:TOPIC}"},
			{"delete", "broker group delete {group:GROUP}"},
			{"describe", "broker group describe {group:GROUP}"},
			{"", "broker group list"},
		}},
		{"kafka-console-consumer", []kafkaAction{
			{"group", "consumer -t {topic:NAME} -g {group}[ -n {max-messages}]"},
			{"from-beginning", "consumer -t {topic:NAME} --from-beginning[ -p {partition}][ -n {max-messages}]"},
			{"", "consumer -t {topic:NAME}[ -o {offset}][ -p {partition}][ -n {max-messages}]"},
		}},
		{"kafka-reassign-partitions", []kafkaAction{{"", "broker partition move TOPIC/PARTITION --to NODE,NODE"}}},
		{"kafka-leader-election", []kafkaAction{{"", "broker partition transfer-leader {topic:TOPIC}/{partition:PARTITION} --to NODE"}}},
		{"kafka-cluster", []kafkaAction{{"", "broker cluster info"}}},
		{"kafka-broker-api-versions", []kafkaAction{{"", "broker cluster info"}}},
		{"kafka-metadata-quorum", []kafkaAction{{"", "broker cluster info"}}},
		{"kafka-log-dirs", []kafkaAction{{"", "broker partition list"}}},
		{"kafka-dump-log", []kafkaAction{
			{"print-data-log", "broker log dump {files:SEGMENT.log} --records"},
			{"", "broker log dump {files:SEGMENT.log}"},
		}},
		{"kafka-server-start", []kafkaAction{{"", "broker start -c {:FILE}"}}},
		{"kafka-server-stop", []kafkaAction{{"", "kill -TERM PID"}}},
		{"kafka-storage", []kafkaAction{{"", "broker start -c {config:FILE}"}}},
	}
}

// newKafkaScripts are hidden commands with the names of Kafka's scripts: each says what to type instead.
func newKafkaScripts(std streams) []*cobra.Command {
	var out []*cobra.Command
	for _, s := range kafkaScripts() {
		out = append(out, &cobra.Command{
			Use: s.name, Aliases: []string{s.name + ".sh"}, Hidden: true, DisableFlagParsing: true,
			RunE: func(_ *cobra.Command, args []string) error {
				fmt.Fprintf(std.err, "%s is a script of Kafka's. The same here:\n  %s\n", s.name, s.translate(args))
				return &codeError{code: exitUsage}
			},
		})
	}
	return out
}

// translate is the command that does what a script does with arguments.
func (s *kafkaScript) translate(args []string) string {
	given := parseKafkaArgs(args)
	for _, a := range s.does {
		if _, ok := given[a.flag]; !ok && a.flag != "" {
			continue
		}
		line := fillTemplate(a.line, given)
		for _, flag := range []string{"bootstrap-server", "broker-list", "bootstrap-controller"} {
			if v := given[flag]; len(v) > 0 && !strings.HasPrefix(line, "broker start") {
				return line + " -b " + shellWord(v[0])
			}
		}
		return line
	}
	return "broker --help" // not reached: each has an action without a flag
}

// parseKafkaArgs reads flags as Kafka's scripts do: --flag value, --flag=value, --flag. What is no flag's has the name "".
func parseKafkaArgs(args []string) map[string][]string {
	given := map[string][]string{}
	for i := 0; i < len(args); i++ {
		name, isFlag := strings.CutPrefix(args[i], "--")
		if !isFlag {
			given[""] = append(given[""], args[i])
			continue
		}
		name, value, inline := strings.Cut(name, "=")
		if !inline && i+1 < len(args) && !strings.HasPrefix(args[i+1], "--") {
			i++
			value, inline = args[i], true
		}
		if !inline {
			if given[name] == nil {
				given[name] = []string{} // given, without a value
			}
			continue
		}
		given[name] = append(given[name], value)
	}
	return given
}

func fillTemplate(line string, given map[string][]string) string {
	optional := regexp.MustCompile(`\[([^\]{]*)\{([a-z-]+)\}([^\]]*)\]`)
	line = optional.ReplaceAllStringFunc(line, func(part string) string {
		m := optional.FindStringSubmatch(part)
		var text strings.Builder
		for _, v := range given[m[2]] {
			text.WriteString(m[1] + shellWord(v) + m[3])
		}
		return text.String()
	})
	return regexp.MustCompile(`\{([a-z-]*)(?::([^}]*))?\}`).ReplaceAllStringFunc(line, func(part string) string {
		name, placeholder, _ := strings.Cut(strings.Trim(part, "{}"), ":")
		if v := given[name]; len(v) > 0 {
			return shellWord(v[0])
		}
		return placeholder
	})
}

// shellWord is a word as a shell takes it.
func shellWord(word string) string {
	if regexp.MustCompile(`^[A-Za-z0-9_./:=,@+-]+$`).MatchString(word) {
		return word
	}
	return fmt.Sprintf("'%s'", strings.ReplaceAll(word, "'", `'\''`))
}
