package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/stelemq/stele/client"
	"github.com/stelemq/stele/internal/cli"
)

// topicTrim is `broker topic trim`.
type topicTrim struct {
	admin
	before     string
	partitions []int32
	yes        bool
	dryRun     bool
}

// trimmedPartition is a partition in the answer.
type trimmedPartition struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Records   int64  `json:"records"`
	LogStart  int64  `json:"log_start_offset"`
	Error     string `json:"error,omitempty"`
}

func newTopicTrim(s streams) *cobra.Command {
	t := &topicTrim{admin: admin{streams: s}}
	cmd := &cobra.Command{
		Use: "trim NAME --before WHERE", Short: "Delete the oldest records of a topic", Args: cobra.ExactArgs(1),
		Long: `Deletes the records before WHERE in each partition; nothing brings them back. WHERE is a time (@-1d, @2026-01-02,
@2026-01-02T03:04:05Z: records before the first one that is not older), an offset, or end for all that there are. On a
terminal it asks for the name again, elsewhere it needs --yes.`,
		Example: `  broker topic trim logs --before @-1d
  broker topic trim logs --before 42000 -p 3 --yes
  broker topic trim logs --before end --dry-run`,
		ValidArgsFunction: t.completeTopics,
		RunE: func(cmd *cobra.Command, names []string) error {
			at, err := t.position(time.Now())
			if err != nil {
				return err
			}
			if err := t.confirm(names[0]); err != nil {
				return err
			}
			return t.ask(cmd.Context(), func(ctx context.Context, c *client.Client) (answer, error) { return t.trim(ctx, c, names[0], at) })
		},
	}
	t.addFlags(cmd)
	cmd.Flags().StringVar(&t.before, "before", "", "the first record to stay: `where`, see above")
	cmd.Flags().Int32SliceVarP(&t.partitions, "partition", "p", nil, "these partitions only")
	cmd.Flags().BoolVar(&t.yes, "yes", false, "do not ask")
	cmd.Flags().BoolVar(&t.dryRun, "dry-run", false, "only say what would be deleted")
	return cmd
}

// position reads --before.
func (t *topicTrim) position(now time.Time) (client.Position, error) {
	if at, ok := strings.CutPrefix(t.before, "@"); ok {
		if when, ok := cli.ParseTime(at, now); ok {
			return client.AtTime(when), nil
		}
	}
	if t.before == "end" {
		return client.End(), nil
	}
	if n, err := strconv.ParseInt(t.before, 10, 64); err == nil && n >= 0 {
		return client.At(n), nil
	}
	return client.Position{}, usageErrorf("--before %q: want @-1d, @2026-01-02T03:04:05Z, an offset, or end", t.before)
}

// confirm asks for the name on a terminal; elsewhere --yes must have said it.
func (t *topicTrim) confirm(name string) error {
	if t.yes || t.dryRun {
		return nil
	}
	if !isTerminal(t.in) {
		return usageErrorf("trimming %s needs --yes where nobody can be asked", name)
	}
	fmt.Fprintf(t.err, "This deletes the records of %s before %s. Type %q to go on: ", name, t.before, name)
	line, err := bufio.NewReader(t.in).ReadString('\n')
	if err != nil || strings.TrimSpace(line) != name {
		return &codeError{exitFailure, errors.New("nothing was deleted")}
	}
	return nil
}

func (t *topicTrim) trim(ctx context.Context, c *client.Client, name string, at client.Position) (answer, error) {
	starts, err := c.Offsets(ctx, name, client.Start())
	if err != nil {
		return answer{}, err //nolint:wrapcheck // says all
	}
	wanted := make(map[int32]client.Position, len(starts))
	for id := range starts {
		wanted[id] = at
	}
	if len(t.partitions) > 0 {
		clear(wanted)
		for _, id := range t.partitions {
			wanted[id] = at
		}
	}
	before, err := c.ResolveOffsets(ctx, name, wanted)
	if err != nil {
		return answer{}, err //nolint:wrapcheck // says all
	}
	var results []client.DeletedRecords
	if t.dryRun {
		for id, o := range before {
			results = append(results, client.DeletedRecords{Partition: id, LogStart: max(o, starts[id])})
		}
	} else if results, err = c.DeleteRecords(ctx, name, before); err != nil {
		return answer{}, err //nolint:wrapcheck // says all
	}
	slices.SortFunc(results, func(a, b client.DeletedRecords) int { return int(a.Partition) - int(b.Partition) })
	return t.answer(name, starts, results)
}

func (t *topicTrim) answer(name string, starts map[int32]int64, results []client.DeletedRecords) (answer, error) {
	items := []trimmedPartition{}
	var failed []error
	a := answer{kind: "TrimmedPartitionList", names: []string{name}, sections: []section{{header: []string{"TOPIC", "PARTITION", "DELETED", "LOG-START"}}}}
	for _, r := range results {
		row := trimmedPartition{Topic: name, Partition: r.Partition, LogStart: r.LogStart}
		deleted, start := "-", "-"
		if r.Err != nil {
			row.Error = r.Err.Error()
			failed = append(failed, r.Err)
		} else {
			row.Records = r.LogStart - starts[r.Partition]
			deleted, start = strconv.FormatInt(row.Records, 10), strconv.FormatInt(r.LogStart, 10)
		}
		items = append(items, row)
		a.sections[0].rows = append(a.sections[0].rows, []string{name, strconv.Itoa(int(r.Partition)), deleted, start})
	}
	a.items = items
	return a, errors.Join(failed...)
}
