package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/stelemq/stele/client"
)

// groupView is a group in the answer of group describe.
type groupView struct {
	Group       string        `json:"group"`
	State       string        `json:"state"`
	Type        string        `json:"type"`
	Protocol    string        `json:"protocol"`
	Coordinator int32         `json:"coordinator"`
	Members     int           `json:"members"`
	TotalLag    int64         `json:"total_lag"`
	Partitions  []groupOffset `json:"partitions"`
}

// groupOffset is a partition as a group reads it. Numbers that are not known are -1.
type groupOffset struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Committed int64  `json:"committed_offset"`
	End       int64  `json:"log_end_offset"`
	Lag       int64  `json:"lag"`
	// LagMillis is the age of the oldest record that is not committed.
	LagMillis int64  `json:"lag_ms"`
	Member    string `json:"member_id"`
	ClientID  string `json:"client_id"`
	Host      string `json:"host"`
}

// lagTimeout bounds the reading of the records by which the lag in time is told.
const lagTimeout = time.Second

func newGroupDescribe(s streams) *cobra.Command {
	a := &admin{streams: s}
	cmd := &cobra.Command{
		Use: "describe GROUP...", Short: "Show members, committed offsets and lag", Args: cobra.MinimumNArgs(1),
		Long: `Shows for each partition what the group has committed, how far that is behind the end of the log (LAG, in records), how
old the oldest record is that is not committed (LAG-TIME), and who reads it. Offsets are read before ends: a lag is
never below what it is, and never below zero.`,
		Example:           "  broker group describe app1\n  broker group describe app1 -o json",
		ValidArgsFunction: a.completeGroups,
		RunE: func(cmd *cobra.Command, names []string) error {
			return a.ask(cmd.Context(), func(ctx context.Context, c *client.Client) (answer, error) { return describeGroups(ctx, c, names) })
		},
	}
	a.addFlags(cmd)
	return cmd
}

func describeGroups(ctx context.Context, c *client.Client, names []string) (answer, error) {
	out := answer{kind: "GroupDescription"}
	var views []groupView
	for _, name := range names {
		v, err := viewGroup(ctx, c, name)
		if err != nil {
			return answer{}, err
		}
		views = append(views, *v)
		out.names = append(out.names, name)
		out.sections = append(out.sections, v.sections()...)
	}
	out.items = views
	return out, nil
}

func viewGroup(ctx context.Context, c *client.Client, id string) (*groupView, error) {
	g, err := c.DescribeGroup(ctx, id)
	if err != nil {
		return nil, err //nolint:wrapcheck // says all
	}
	committed, err := c.Committed(ctx, id)
	if err != nil {
		return nil, err //nolint:wrapcheck // says all
	}
	v := &groupView{Group: id, State: g.State, Type: g.Type, Protocol: g.Protocol, Coordinator: g.Coordinator, Members: len(g.Members), Partitions: []groupOffset{}}
	parts := map[client.TopicPartition]*groupOffset{}
	row := func(tp client.TopicPartition) *groupOffset {
		if parts[tp] == nil {
			parts[tp] = &groupOffset{Topic: tp.Topic, Partition: tp.Partition, Committed: -1, End: -1, Lag: -1, LagMillis: -1}
		}
		return parts[tp]
	}
	for tp, o := range committed {
		row(tp).Committed = o.Offset
	}
	for i := range g.Members {
		m := &g.Members[i]
		for topic, ps := range m.Assigned {
			for _, p := range ps {
				r := row(client.TopicPartition{Topic: topic, Partition: p})
				r.Member, r.ClientID, r.Host = m.ID, m.ClientID, strings.TrimPrefix(m.Host, "/")
			}
		}
	}
	measureLag(ctx, c, parts)
	for _, p := range parts {
		v.TotalLag += max(p.Lag, 0)
		v.Partitions = append(v.Partitions, *p)
	}
	slices.SortFunc(v.Partitions, func(a, b groupOffset) int {
		return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
	})
	return v, nil
}

// measureLag asks for the ends of the logs, and for the records that come next where the group is behind.
func measureLag(ctx context.Context, c *client.Client, parts map[client.TopicPartition]*groupOffset) {
	ends := map[string]map[int32]int64{}
	behind := map[client.TopicPartition]int64{}
	for tp, p := range parts {
		if _, asked := ends[tp.Topic]; !asked {
			ends[tp.Topic], _ = c.Offsets(ctx, tp.Topic, client.End()) // a topic that is gone has no end
		}
		end, ok := ends[tp.Topic][tp.Partition]
		if !ok {
			continue
		}
		p.End = end
		if p.Committed < 0 {
			continue
		}
		if p.Lag = max(0, end-p.Committed); p.Lag > 0 {
			behind[tp] = p.Committed
		} else {
			p.LagMillis = 0
		}
	}
	ctx, cancel := context.WithTimeout(ctx, lagTimeout)
	defer cancel()
	times, _ := c.NextTimestamps(ctx, behind) // what does not come in time is not known
	now := time.Now()
	for tp, at := range times {
		parts[tp].LagMillis = max(0, now.Sub(at).Milliseconds())
	}
}

func (v *groupView) sections() []section {
	summary := section{rows: [][]string{
		{"GROUP", v.Group},
		{"STATE", v.State},
		{"TYPE", v.Type},
		{"PROTOCOL", v.Protocol},
		{"COORDINATOR", strconv.Itoa(int(v.Coordinator))},
		{"MEMBERS", strconv.Itoa(v.Members)},
		{"TOTAL-LAG", strconv.FormatInt(v.TotalLag, 10)},
	}}
	table := section{header: []string{"TOPIC", "PARTITION", "CURRENT-OFFSET", "LOG-END-OFFSET", "LAG", "LAG-TIME", "MEMBER-ID", "CLIENT-ID", "HOST"}}
	for i := range v.Partitions {
		p := &v.Partitions[i]
		table.rows = append(table.rows, []string{
			p.Topic, fmt.Sprint(p.Partition), orDash(p.Committed), orDash(p.End), orDash(p.Lag), lagTime(p.LagMillis), p.Member, p.ClientID, p.Host,
		})
	}
	return []section{summary, table}
}

func lagTime(ms int64) string {
	if ms < 0 {
		return "-"
	}
	d := time.Duration(ms) * time.Millisecond
	if d >= time.Second {
		d = d.Round(time.Second)
	}
	return d.String()
}
