package config

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// The files for programs that no test here can run are held against the options that their documentation names.
func TestLoggingPipeline_FilebeatsOptionsExist(t *testing.T) {
	text, err := os.ReadFile("../../configs/logging-pipeline/filebeat.yml")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Inputs []map[string]any `yaml:"filebeat.inputs"`
		Kafka  map[string]any   `yaml:"output.kafka"`
	}
	decode := yaml.NewDecoder(strings.NewReader(string(text)))
	decode.KnownFields(true)
	if err := decode.Decode(&file); err != nil {
		t.Fatal(err)
	}
	for _, in := range file.Inputs {
		unknown(t, "filestream", keys(in), "type", "id", "paths", "enabled", "encoding", "exclude_lines", "include_lines", "parsers")
	}
	unknown(t, "output.kafka", keys(file.Kafka), "enabled", "hosts", "version", "username", "password", "sasl.mechanism", "topic", "topics", "key",
		"partition.random", "partition.round_robin", "partition.hash", "headers", "client_id", "codec", "metadata", "backoff.init", "backoff.max",
		"bulk_max_size", "bulk_flush_frequency", "timeout", "broker_timeout", "channel_buffer_size", "keep_alive", "compression", "compression_level",
		"max_message_bytes", "required_acks", "ssl", "kerberos", "queue")
	if file.Kafka["required_acks"] != -1 || !slices.Contains([]any{"none", "snappy", "lz4", "gzip", "zstd"}, file.Kafka["compression"]) {
		t.Errorf("required_acks %v, compression %v", file.Kafka["required_acks"], file.Kafka["compression"])
	}
}

func TestLoggingPipeline_LogstashsOptionsExist(t *testing.T) {
	text, err := os.ReadFile("../../configs/logging-pipeline/logstash.conf")
	if err != nil {
		t.Fatal(err)
	}
	code := regexp.MustCompile(`(?m)^\s*#.*$`).ReplaceAllString(string(text), "")
	for _, row := range []struct {
		plugin string
		known  []string
	}{
		{"input", []string{
			"bootstrap_servers", "topics", "topics_pattern", "group_id", "group_instance_id", "client_id", "client_rack", "auto_offset_reset", "consumer_threads",
			"decorate_events", "codec", "enable_auto_commit", "auto_commit_interval_ms", "max_poll_records", "isolation_level", "security_protocol", "id", "tags", "add_field",
		}},
		{"output", []string{
			"bootstrap_servers", "topic_id", "client_id", "codec", "message_key", "message_headers", "acks", "compression_type", "batch_size", "linger_ms",
			"max_request_size", "retries", "partitioner", "security_protocol", "id",
		}},
	} {
		_, section, found := strings.Cut(code, row.plugin+" {")
		_, section, kafka := strings.Cut(section, "kafka {")
		section, _, closed := strings.Cut(section, "\n  }\n}")
		if !found || !kafka || !closed {
			t.Fatalf("no section %s with kafka", row.plugin)
		}
		var names []string
		for _, option := range regexp.MustCompile(`(?m)^\s*(\w+) => \S`).FindAllStringSubmatch(section, -1) {
			names = append(names, option[1])
		}
		if len(names) < 3 {
			t.Errorf("%s: only %v", row.plugin, names)
		}
		unknown(t, "logstash "+row.plugin, names, row.known...)
	}
	if open, closed := strings.Count(code, "{"), strings.Count(code, "}"); open != closed || strings.Count(code, `"`)%2 != 0 {
		t.Errorf("%d braces are opened and %d closed, or a quote is missing", open, closed)
	}
}

func keys(m map[string]any) (names []string) {
	for name := range m {
		names = append(names, name)
	}
	return names
}

func unknown(t *testing.T, where string, names []string, known ...string) {
	t.Helper()
	for _, name := range names {
		if !slices.Contains(known, name) {
			t.Errorf("%s has no option %s", where, name)
		}
	}
}
