package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/stelemq/stele/client"
)

// describedTopic is a topic in the answer of `broker topic describe`.
type describedTopic struct {
	Name       string `json:"name"`
	Internal   bool   `json:"internal"`
	Health     string `json:"health"`
	Durability string `json:"durability"`
	promise
	Records    int64                `json:"records"`
	Configs    []describedConfig    `json:"configs"`
	Partitions []describedPartition `json:"partitions"`
}

type describedConfig struct {
	Name   string `json:"name"`
	Value  string `json:"value"`
	Source string `json:"source"`
}

type describedPartition struct {
	ID          int32   `json:"partition"`
	Leader      int32   `json:"leader"`
	LeaderEpoch int32   `json:"leader_epoch"`
	ISR         []int32 `json:"isr"`
	Replicas    []int32 `json:"replicas"`
	// LogStart and HighWatermark are -1 while the partition has no leader to tell them.
	LogStart      int64 `json:"log_start_offset"`
	HighWatermark int64 `json:"high_watermark"`
}

func newTopicDescribe(s streams) *cobra.Command {
	t := &admin{streams: s}
	var all bool
	cmd := &cobra.Command{
		Use: "describe NAME...", Short: "Show a topic's partitions and settings", Args: cobra.MinimumNArgs(1),
		Long: `Shows each partition's leader, replicas and offsets, and the settings with where each comes from (TOPIC, BROKER,
DEFAULT). HIGH-WATERMARK is the offset after the last record that consumers see.`,
		Example:           "  broker topic describe logs\n  broker topic describe logs --all-configs -o json",
		ValidArgsFunction: t.completeTopics,
		RunE: func(cmd *cobra.Command, names []string) error {
			return t.ask(cmd.Context(), func(ctx context.Context, c *client.Client) (answer, error) { return describe(ctx, c, names, all) })
		},
	}
	t.addFlags(cmd)
	cmd.Flags().BoolVar(&all, "all-configs", false, "also the settings that are defaults")
	return cmd
}

func describe(ctx context.Context, c *client.Client, names []string, all bool) (answer, error) {
	a := answer{kind: "TopicDescription", names: names}
	var items []describedTopic
	for _, name := range names {
		d, err := describeTopic(ctx, c, name, all)
		if err != nil {
			return answer{}, err
		}
		items = append(items, d)
		a.sections = append(a.sections, d.sections()...)
	}
	a.items = items
	return a, nil
}

func describeTopic(ctx context.Context, c *client.Client, name string, all bool) (describedTopic, error) {
	t, err := c.Topic(ctx, name)
	if err != nil {
		return describedTopic{}, err //nolint:wrapcheck // says all
	}
	configs, err := c.TopicConfigs(ctx, name)
	if err != nil {
		return describedTopic{}, err //nolint:wrapcheck // says all
	}
	d := describedTopic{Name: t.Name, Internal: t.Internal, Health: health(t), Durability: "unknown", Configs: []describedConfig{}}
	for _, k := range configs {
		if k.Name == "flush.messages" {
			d.Durability = durability(k.Value)
		}
		if all || k.Source != client.SourceDefault {
			d.Configs = append(d.Configs, describedConfig{k.Name, k.Value, k.Source.String()})
		}
	}
	d.promise = promiseOf(replicas(t), configs)
	starts, ends, err := offsets(ctx, c, t)
	if err != nil {
		return describedTopic{}, err
	}
	for i := range t.Partitions {
		p := &t.Partitions[i]
		row := describedPartition{
			ID: p.ID, Leader: p.Leader, LeaderEpoch: p.LeaderEpoch, ISR: p.ISR, Replicas: p.Replicas,
			LogStart: known(starts, p.ID), HighWatermark: known(ends, p.ID),
		}
		d.Records += max(0, row.HighWatermark-row.LogStart)
		d.Partitions = append(d.Partitions, row)
	}
	return d, nil
}

// durability is the promise behind flush.messages, in words.
func durability(flushMessages string) string {
	if flushMessages == "1" {
		return "acknowledged records are on stable storage"
	}
	return "relaxed: acknowledged records are in memory, synced later"
}

// offsets asks for the ends of the partitions that have a leader.
func offsets(ctx context.Context, c *client.Client, t *client.Topic) (starts, ends map[int32]int64, err error) {
	from, to := map[int32]client.Position{}, map[int32]client.Position{}
	for i := range t.Partitions {
		if p := &t.Partitions[i]; p.Leader >= 0 && p.Err == nil {
			from[p.ID], to[p.ID] = client.Start(), client.End()
		}
	}
	if starts, err = c.ResolveOffsets(ctx, t.Name, from); err != nil {
		return nil, nil, err //nolint:wrapcheck // says all
	}
	ends, err = c.ResolveOffsets(ctx, t.Name, to)
	return starts, ends, err //nolint:wrapcheck // says all
}

func known(offsets map[int32]int64, id int32) int64 {
	if o, ok := offsets[id]; ok {
		return o
	}
	return -1
}

func (d *describedTopic) sections() []section {
	summary := section{rows: [][]string{
		{"TOPIC", d.Name},
		{"HEALTH", d.Health},
		{"DURABILITY", d.Durability},
		{"MODE", d.Mode},
		{"MAY-LOSE", d.MayLose},
		{"WRITES-STOP", d.WritesStop},
		{"PARTITIONS", fmt.Sprint(len(d.Partitions))},
		{"RECORDS", fmt.Sprint(d.Records)},
	}}
	partitions := section{header: []string{"PARTITION", "LEADER", "EPOCH", "ISR", "REPLICAS", "START", "HIGH-WATERMARK"}}
	for i := range d.Partitions {
		p := &d.Partitions[i]
		partitions.rows = append(partitions.rows, []string{
			fmt.Sprint(p.ID), orDash(int64(p.Leader)), orDash(int64(p.LeaderEpoch)), ids(p.ISR), ids(p.Replicas), orDash(p.LogStart), orDash(p.HighWatermark),
		})
	}
	all := []section{summary, partitions}
	if len(d.Configs) > 0 {
		configs := section{header: []string{"CONFIG", "VALUE", "SOURCE"}}
		for _, k := range d.Configs {
			configs.rows = append(configs.rows, []string{k.Name, k.Value, k.Source})
		}
		all = append(all, configs)
	}
	return all
}

// orDash shows what is not known, -1, as a dash.
func orDash(n int64) string {
	if n < 0 {
		return "-"
	}
	return fmt.Sprint(n)
}
