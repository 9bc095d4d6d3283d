package main

import (
	"io"
	"strings"
	"testing"
)

func TestKafkaScripts_PrintTheEquivalent(t *testing.T) {
	for args, want := range map[string]string{
		"kafka-topics --create --topic logs --partitions 6 --replication-factor=3 --config a=1 --config b=2 --bootstrap-server h:1": "broker topic create logs -p 6 -r 3 -c a=1 -c b=2 -b h:1",
		"kafka-topics.sh --bootstrap-server h:1 --create":                                            "broker topic create NAME -b h:1",
		"kafka-topics --list":                                                                        "broker topic list",
		"kafka-topics --describe --topic logs":                                                       "broker topic describe logs",
		"kafka-topics --describe --under-replicated-partitions":                                      "broker partition list --under-replicated",
		"kafka-topics --alter --topic logs --partitions 9":                                           "broker topic add-partitions logs --to 9",
		"kafka-configs --alter --entity-type topics --entity-name logs --add-config retention.ms=1":  "broker topic alter logs -c retention.ms=1",
		"kafka-configs.sh --alter --entity-type topics --entity-name l --delete-config retention.ms": "broker topic alter l -c retention.ms-",
		"kafka-console-producer --broker-list h:1 --topic logs":                                      "producer -t logs -b h:1",
		"kafka-console-consumer --topic logs --from-beginning --max-messages 5":                      "consumer -t logs --from-beginning -n 5",
		"kafka-server-start.sh config/server.properties":                                             "broker start -c config/server.properties",
		"kafka-storage format --config x.properties --cluster-id y":                                  "broker start -c x.properties",
		"kafka-dump-log --files a.log --print-data-log":                                              "broker log dump a.log --records",
		"kafka-topics --delete --topic it's":                                                         `broker topic delete 'it'\''s'`,
		"kafka-cluster cluster-id --bootstrap-server h:1":                                            "broker cluster info -b h:1",
	} {
		r := command(t, strings.Fields(args)...)
		if r.code != exitUsage || !strings.Contains(r.err, "\n  "+want+"\n") || r.out != "" {
			t.Errorf("%s: %+v, want %q", args, r, want)
		}
	}
	if r := command(t, "--help"); strings.Contains(r.out, "kafka-") {
		t.Errorf("the help lists scripts:\n%s", r.out)
	}
	if r := command(t, "kafka-frobnicate", "--x"); r.code != exitUsage {
		t.Errorf("unknown script: %+v", r)
	}
}

// What is proposed exists: each command, with its flags.
func TestKafkaScripts_EquivalentsExist(t *testing.T) {
	for _, s := range kafkaScripts() {
		if s.does[len(s.does)-1].flag != "" {
			t.Errorf("%s does nothing without a flag", s.name)
		}
		for _, a := range s.does {
			words := strings.Fields(strings.ReplaceAll(fillTemplate(a.line, map[string][]string{
				"topic": {"t"}, "partitions": {"1"}, "replication-factor": {"1"}, "config": {"a=b"}, "partition": {"0"},
			}), "NODE", "2"))
			if words[0] != "broker" {
				continue
			}
			cmd, rest, err := newRoot(streams{in: strings.NewReader(""), out: io.Discard, err: io.Discard}).Find(words[1:])
			if err != nil || !cmd.HasParent() || cmd.HasSubCommands() {
				t.Errorf("%s %s: %q is no command: %v", s.name, a.flag, words, err)
				continue
			}
			if err := cmd.ParseFlags(rest); err != nil {
				t.Errorf("%s %s: %q: %v", s.name, a.flag, words, err)
				continue
			}
			if err := cmd.ValidateArgs(cmd.Flags().Args()); err != nil {
				t.Errorf("%s %s: %q: %v", s.name, a.flag, words, err)
			}
		}
	}
}
