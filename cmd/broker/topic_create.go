package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/stelemq/stele/client"
	"github.com/stelemq/stele/protocol"
)

// topicCreate is `broker topic create`.
type topicCreate struct {
	admin
	partitions, replicas int
	configs              []string
	mode                 string
	ifNotExists, dryRun  bool
}

// createdTopic is a topic in the answer.
type createdTopic struct {
	Name       string            `json:"name"`
	Status     string            `json:"status"`
	Partitions int               `json:"partitions,omitempty"`
	Replicas   int               `json:"replicas,omitempty"`
	Configs    map[string]string `json:"configs,omitempty"`
	Error      string            `json:"error,omitempty"`
}

func newTopicCreate(s streams) *cobra.Command {
	t := &topicCreate{admin: admin{streams: s}}
	cmd := &cobra.Command{
		Use: "create NAME...", Short: "Create topics", Args: cobra.MinimumNArgs(1),
		Example: `  broker topic create logs
  broker topic create logs events -p 6 -c segment.bytes=64MiB
  broker topic create ledger -r 3 --mode protection
  broker topic create logs --if-not-exists --dry-run`,
		Long: `--mode says what the topic gives up first when nodes are lost. quorum, the default: nothing that was acknowledged is lost
while a majority of the replicas survives. availability: writing goes on from any survivor, which may lose records
(unclean.leader.election.enable). protection: acks=all waits for every replica (min.insync.replicas), so one loss stops writing.`,
		RunE: func(cmd *cobra.Command, names []string) error {
			configs, err := parseConfigs(t.configs)
			if err != nil {
				return err
			}
			if _, err := modeConfigs(t.mode, 0); err != nil {
				return err
			}
			return t.ask(cmd.Context(), func(ctx context.Context, c *client.Client) (answer, error) { return t.create(ctx, c, names, configs) })
		},
	}
	t.addFlags(cmd)
	cmd.Flags().IntVarP(&t.partitions, "partitions", "p", 0, "number of partitions; 0: the broker's default")
	cmd.Flags().IntVarP(&t.replicas, "replicas", "r", 0, "replicas of each partition; 0: the broker's default")
	cmd.Flags().StringArrayVarP(&t.configs, "topic-config", "c", nil, "a setting of the topic, `key=value`; repeatable")
	cmd.Flags().StringVar(&t.mode, "mode", "", "availability, quorum or protection")
	cmd.Flags().BoolVar(&t.ifNotExists, "if-not-exists", false, "a topic that exists already is no failure")
	cmd.Flags().BoolVar(&t.dryRun, "dry-run", false, "only say what would happen")
	return cmd
}

func (t *topicCreate) create(ctx context.Context, c *client.Client, names []string, configs map[string]string) (answer, error) {
	if err := t.addMode(ctx, c, names[0], configs); err != nil {
		return answer{}, err
	}
	topics := make([]client.NewTopic, 0, len(names))
	for _, name := range names {
		topics = append(topics, client.NewTopic{Name: name, Partitions: t.partitions, ReplicationFactor: t.replicas, Configs: configs})
	}
	results, err := c.CreateTopics(ctx, topics, t.dryRun)
	if err != nil {
		return answer{}, err //nolint:wrapcheck // says all
	}
	var created []createdTopic
	var failed []error
	a := answer{kind: "TopicCreateList", sections: []section{{}}}
	for _, r := range results {
		row := t.judge(r)
		if row.Error != "" {
			failed = append(failed, r.Err)
		} else {
			a.names = append(a.names, row.Name)
		}
		created = append(created, row)
		a.sections[0].rows = append(a.sections[0].rows, []string{row.Name, row.Status, row.shape()})
	}
	a.items = created
	return a, errors.Join(failed...)
}

// addMode adds the settings of the mode to configs, unless they are there.
func (t *topicCreate) addMode(ctx context.Context, c *client.Client, name string, configs map[string]string) error {
	n := t.replicas
	if t.mode == modeProtection && n == 0 { // the broker knows how many there will be
		results, err := c.CreateTopics(ctx, []client.NewTopic{{Name: name, Partitions: t.partitions}}, true)
		if err != nil {
			return err //nolint:wrapcheck // says all
		}
		if n = results[0].ReplicationFactor; n == 0 {
			return usageErrorf("--mode protection: say how many replicas with -r")
		}
	}
	more, err := modeConfigs(t.mode, n)
	for key, value := range more {
		if _, set := configs[key]; !set {
			configs[key] = value
		}
	}
	return err
}

func (t *topicCreate) judge(r client.TopicResult) createdTopic {
	row := createdTopic{Name: r.Name, Status: "OK", Partitions: r.Partitions, Replicas: r.ReplicationFactor}
	switch {
	case r.Err == nil && t.dryRun:
		row.Status = "WOULD-CREATE"
	case r.Err == nil:
	case t.ifNotExists && client.Code(r.Err) == protocol.TopicAlreadyExists:
		row.Status = "EXISTS"
	default:
		row.Status, row.Error = "FAILED", r.Err.Error()
	}
	for _, k := range r.Configs {
		if k.Source == client.SourceTopic && !k.Sensitive {
			if row.Configs == nil {
				row.Configs = map[string]string{}
			}
			row.Configs[k.Name] = k.Value
		}
	}
	return row
}

func (c createdTopic) shape() string {
	if c.Partitions == 0 {
		return ""
	}
	return plural(c.Partitions, "partition") + " × " + plural(c.Replicas, "replica")
}

// parseConfigs reads settings of topics; sizes and times may have units, as in broker's settings.
func parseConfigs(texts []string) (map[string]string, error) {
	configs := map[string]string{}
	for _, text := range texts {
		key, value, ok := strings.Cut(text, "=")
		if !ok || key == "" {
			return nil, usageErrorf("-c %s: want key=value", text)
		}
		plain, err := plainConfig(key, value)
		if err != nil {
			return nil, usageErrorf("-c %s: %v", text, err)
		}
		configs[key] = plain
	}
	return configs, nil
}

// plainConfig turns units into the plain numbers of Kafka's protocol, by what the key ends in.
func plainConfig(key, value string) (string, error) {
	if value == "" || strings.HasPrefix(value, "-") {
		return value, nil
	}
	switch {
	case strings.HasSuffix(key, ".bytes"):
		n, err := parseSize(value)
		return fmt.Sprint(n), err
	case strings.HasSuffix(key, ".ms"):
		n, err := parseMillis(value)
		return fmt.Sprint(n), err
	default:
		return value, nil
	}
}
