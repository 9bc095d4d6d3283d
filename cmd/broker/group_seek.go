package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/stelemq/stele/client"
	"github.com/stelemq/stele/internal/cli"
	"github.com/stelemq/stele/protocol"
)

// groupSeek is `broker group seek`.
type groupSeek struct {
	admin
	to, toGroup string
	topics      []string
	yes, dryRun bool
	force       bool
}

// seekRow is a partition in the plan. Numbers that are not known are -1.
type seekRow struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Old       int64  `json:"old_offset"`
	New       int64  `json:"new_offset"`
	Delta     int64  `json:"delta"`
}

func newGroupSeek(s streams) *cobra.Command {
	g := &groupSeek{admin: admin{streams: s}}
	cmd := &cobra.Command{
		Use: "seek GROUP --to WHERE", Short: "Set where a group goes on", Args: cobra.ExactArgs(1),
		Long: `Sets the committed offsets of a group that has no members. The plan is printed first: on a terminal it asks before
anything is changed, elsewhere it needs --yes. WHERE is start, end, a time (@-1h, @2026-01-02T03:04:05Z: the first record
that is not older), an offset, +N or -N from what is committed, or a file of lines topic,partition,offset (FILE.csv).
Offsets outside the log are moved to its start or end.

Partitions are those that the group has committed, or all of --topics. A group with members is refused: they would
overwrite what is set. --force has the coordinator drop them first; those that still run come back and go on from there.`,
		Example: `  broker group seek app1 --to start
  broker group seek app1 --to @-1h --topics logs --yes
  broker group seek app1 --to-group app0 --dry-run`,
		ValidArgsFunction: g.completeGroups,
		RunE: func(cmd *cobra.Command, names []string) error {
			if (g.to == "") == (g.toGroup == "") {
				return usageErrorf("want one of --to and --to-group")
			}
			if g.to != "" && !strings.HasSuffix(g.to, ".csv") {
				if _, _, err := g.position(time.Now()); err != nil {
					return err
				}
			}
			return g.run(cmd.Context(), names[0])
		},
	}
	g.addFlags(cmd)
	cmd.Flags().StringVar(&g.to, "to", "", "`where` to go on, see above")
	cmd.Flags().StringVar(&g.toGroup, "to-group", "", "go on where this `group` is")
	cmd.Flags().StringSliceVar(&g.topics, "topics", nil, "only these `topics`, all their partitions")
	cmd.Flags().BoolVar(&g.yes, "yes", false, "do not ask")
	cmd.Flags().BoolVar(&g.dryRun, "dry-run", false, "print the plan and change nothing")
	cmd.Flags().BoolVar(&g.force, "force", false, "drop the group's members first")
	return cmd
}

func (g *groupSeek) run(ctx context.Context, id string) error {
	var rows []seekRow
	var members *client.Group
	err := g.ask(ctx, func(ctx context.Context, c *client.Client) (answer, error) {
		var err error
		if members, err = g.members(ctx, c, id); err != nil {
			return answer{}, err
		}
		if rows, err = g.plan(ctx, c, id); err != nil {
			return answer{}, err
		}
		return seekTable(id, rows), nil
	})
	if err != nil || g.dryRun {
		return err
	}
	if err := g.confirm(id); err != nil {
		return err
	}
	return g.explainOnce(ctx, func(ctx context.Context, c *client.Client) error {
		if members != nil && len(members.Members) > 0 {
			if err := c.EvictGroup(ctx, members); err != nil {
				return err //nolint:wrapcheck // says all
			}
		}
		offsets := make(map[client.TopicPartition]int64, len(rows))
		for _, r := range rows {
			offsets[client.TopicPartition{Topic: r.Topic, Partition: r.Partition}] = r.New
		}
		if err := c.CommitOffsets(ctx, id, offsets); err != nil {
			return err //nolint:wrapcheck // says all
		}
		fmt.Fprintf(g.err, "%s goes on there\n", id)
		return nil
	})
}

func (g *groupSeek) explainOnce(ctx context.Context, f func(context.Context, *client.Client) error) error {
	if err := g.once(ctx, f); err != nil {
		return g.explain(ctx, err)
	}
	return nil
}

// members refuses a group that has some, unless they are to be dropped.
func (g *groupSeek) members(ctx context.Context, c *client.Client, id string) (*client.Group, error) {
	d, err := c.DescribeGroup(ctx, id)
	if client.Code(err) == protocol.GroupIDNotFound {
		return nil, nil //nolint:nilnil // a group may be made by its first offsets
	}
	if err != nil {
		return nil, err //nolint:wrapcheck // says all
	}
	if len(d.Members) > 0 && !g.force && !g.dryRun {
		return nil, liveMembers(d, "Stop them, or pass --force to evict")
	}
	return d, nil
}

func (g *groupSeek) confirm(id string) error {
	if g.yes {
		return nil
	}
	if !isTerminal(g.in) {
		return usageErrorf("nothing was changed: carrying this plan out needs --yes where nobody can be asked")
	}
	fmt.Fprintf(g.err, "Have %s go on there? [y/N] ", id)
	line, err := bufio.NewReader(g.in).ReadString('\n')
	if err != nil || !strings.EqualFold(strings.TrimSpace(line), "y") {
		return &codeError{exitFailure, errors.New("nothing was changed")}
	}
	return nil
}

// plan works out where every partition goes.
func (g *groupSeek) plan(ctx context.Context, c *client.Client, id string) ([]seekRow, error) {
	old, err := c.Committed(ctx, id)
	if err != nil {
		return nil, err //nolint:wrapcheck // says all
	}
	target, err := g.targets(ctx, c, old)
	if err != nil {
		return nil, err
	}
	byTopic := map[string]map[int32]client.Position{}
	for tp, at := range target {
		if byTopic[tp.Topic] == nil {
			byTopic[tp.Topic] = map[int32]client.Position{}
		}
		byTopic[tp.Topic][tp.Partition] = at
	}
	var rows []seekRow
	for topic, at := range byTopic {
		resolved, err := resolveInside(ctx, c, topic, at)
		if err != nil {
			return nil, err
		}
		for p, o := range resolved {
			r := seekRow{Topic: topic, Partition: p, Old: -1, New: o, Delta: o}
			if was, ok := old[client.TopicPartition{Topic: topic, Partition: p}]; ok {
				r.Old, r.Delta = was.Offset, o-was.Offset
			}
			rows = append(rows, r)
		}
	}
	if len(rows) == 0 {
		return nil, fmt.Errorf("group %q has committed nothing; --topics says which topics to set", id) //nolint:err113 // for people
	}
	slices.SortFunc(rows, func(a, b seekRow) int {
		return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
	})
	return rows, nil
}

// resolveInside looks positions up and moves those outside the log to its ends.
func resolveInside(ctx context.Context, c *client.Client, topic string, at map[int32]client.Position) (map[int32]int64, error) {
	resolved, err := c.ResolveOffsets(ctx, topic, at)
	if err != nil {
		return nil, err //nolint:wrapcheck // says all
	}
	starts, err := c.Offsets(ctx, topic, client.Start())
	if err != nil {
		return nil, err //nolint:wrapcheck // says all
	}
	ends, err := c.Offsets(ctx, topic, client.End())
	if err != nil {
		return nil, err //nolint:wrapcheck // says all
	}
	for p, o := range resolved {
		resolved[p] = min(max(o, starts[p]), ends[p])
	}
	return resolved, nil
}

// targets says which partitions go where.
func (g *groupSeek) targets(ctx context.Context, c *client.Client, old map[client.TopicPartition]client.Committed) (map[client.TopicPartition]client.Position, error) {
	out := map[client.TopicPartition]client.Position{}
	switch {
	case g.toGroup != "":
		other, err := c.Committed(ctx, g.toGroup)
		if err != nil {
			return nil, err //nolint:wrapcheck // says all
		}
		for tp, o := range other {
			out[tp] = client.At(o.Offset)
		}
		return g.keep(out), nil
	case strings.HasSuffix(g.to, ".csv"):
		read, err := readOffsets(g.to)
		return g.keep(read), err
	}
	at, relative, err := g.position(time.Now())
	if err != nil {
		return nil, err
	}
	for tp, o := range old {
		if relative != 0 {
			at = client.At(max(0, o.Offset+relative))
		}
		out[tp] = at
	}
	if len(g.topics) == 0 || relative != 0 {
		return g.keep(out), nil
	}
	clear(out)
	for _, topic := range g.topics {
		starts, err := c.Offsets(ctx, topic, client.Start())
		if err != nil {
			return nil, err //nolint:wrapcheck // says all
		}
		for p := range starts {
			out[client.TopicPartition{Topic: topic, Partition: p}] = at
		}
	}
	return out, nil
}

// keep leaves out what is not of --topics.
func (g *groupSeek) keep(all map[client.TopicPartition]client.Position) map[client.TopicPartition]client.Position {
	for tp := range all {
		if len(g.topics) > 0 && !slices.Contains(g.topics, tp.Topic) {
			delete(all, tp)
		}
	}
	return all
}

// position reads --to; relative is not 0 where it counts from what is committed.
func (g *groupSeek) position(now time.Time) (at client.Position, relative int64, err error) {
	if text, ok := strings.CutPrefix(g.to, "@"); ok {
		if when, ok := cli.ParseTime(text, now); ok {
			return client.AtTime(when), 0, nil
		}
	}
	switch g.to {
	case "start", "beginning", "earliest":
		return client.Start(), 0, nil
	case "end", "latest":
		return client.End(), 0, nil
	}
	n, numErr := strconv.ParseInt(g.to, 10, 64)
	signed := strings.HasPrefix(g.to, "+") || strings.HasPrefix(g.to, "-")
	switch {
	case numErr == nil && signed && n != 0:
		return client.Position{}, n, nil
	case numErr == nil && !signed:
		return client.At(n), 0, nil
	}
	return client.Position{}, 0, usageErrorf("--to %q: want start, end, @-1h, @2026-01-02T03:04:05Z, an offset, +N, -N or FILE.csv", g.to)
}

// readOffsets reads lines topic,partition,offset, as Kafka's tools write them.
func readOffsets(path string) (map[client.TopicPartition]client.Position, error) {
	f, err := os.Open(path) //nolint:gosec // the user names it
	if err != nil {
		return nil, err //nolint:wrapcheck // names the file
	}
	defer f.Close() //nolint:errcheck // only read
	r := csv.NewReader(f)
	r.FieldsPerRecord, r.TrimLeadingSpace = 3, true
	lines, err := r.ReadAll()
	if err != nil {
		return nil, usageErrorf("%s: %v", path, err)
	}
	out := map[client.TopicPartition]client.Position{}
	for i, l := range lines {
		p, perr := strconv.ParseInt(l[1], 10, 32)
		o, oerr := strconv.ParseInt(l[2], 10, 64)
		if l[0] == "" || perr != nil || oerr != nil || p < 0 || o < 0 {
			return nil, usageErrorf("%s:%d: want topic,partition,offset", path, i+1)
		}
		out[client.TopicPartition{Topic: l[0], Partition: int32(p)}] = client.At(o)
	}
	return out, nil
}

func seekTable(id string, rows []seekRow) answer {
	table := section{header: []string{"TOPIC", "PARTITION", "OLD", "NEW", "DELTA"}}
	for _, r := range rows {
		table.rows = append(table.rows, []string{r.Topic, fmt.Sprint(r.Partition), orDash(r.Old), fmt.Sprint(r.New), fmt.Sprintf("%+d", r.Delta)})
	}
	return answer{kind: "GroupSeekPlan", items: rows, names: []string{id}, sections: []section{table}}
}
