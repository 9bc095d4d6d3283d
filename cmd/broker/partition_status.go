package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// parsePartition reads TOPIC/PARTITION.
func parsePartition(text string) (topic string, partition int32, err error) {
	i := strings.LastIndexByte(text, '/')
	if i < 1 {
		return "", 0, usageErrorf("%q: want TOPIC/PARTITION, as in logs/0", text)
	}
	n, err := strconv.ParseInt(text[i+1:], 10, 32)
	if err != nil || n < 0 {
		return "", 0, usageErrorf("%q: want TOPIC/PARTITION, as in logs/0", text)
	}
	return text[:i], int32(n), nil
}

// partitionReport is the answer to GET /admin/v1/partitions/{topic}/{partition}.
type partitionReport struct {
	Topic      string          `json:"topic"`
	Partition  int32           `json:"partition"`
	Shard      uint64          `json:"shard"`
	Generation int32           `json:"generation"`
	Leader     int32           `json:"leader"`
	Epoch      int32           `json:"leader_epoch"`
	Preferred  int32           `json:"preferred_leader"`
	ISR        []int32         `json:"isr"`
	Target     []int32         `json:"target,omitempty"`
	Recover    bool            `json:"recovery_requested,omitempty"`
	Replicas   []replicaReport `json:"replicas"`
}

type replicaReport struct {
	Node          int32  `json:"node"`
	Replica       uint64 `json:"replica,omitempty"`
	State         string `json:"state"`
	Role          string `json:"role,omitempty"`
	Leader        int32  `json:"leader"`
	Term          uint64 `json:"term"`
	First         uint64 `json:"first_index"`
	Last          uint64 `json:"last_index"`
	Commit        uint64 `json:"commit_index"`
	Applied       uint64 `json:"applied_index"`
	Quarantined   bool   `json:"quarantined,omitempty"`
	LastContact   int64  `json:"last_contact_ms"`
	LogStart      int64  `json:"log_start_offset"`
	HighWatermark int64  `json:"high_watermark"`
	LogEnd        int64  `json:"log_end_offset"`
	SizeBytes     int64  `json:"size_bytes"`
	Lag           *int64 `json:"lag"`
	Error         string `json:"error,omitempty"`
}

// snapshot is the index before the first entry that Raft still has: who lacks it gets files instead.
func (r *replicaReport) snapshot() uint64 { return max(r.First, 1) - 1 }

func partitionPath(topic string, partition int32) string {
	return fmt.Sprintf("/admin/v1/partitions/%s/%d", url.PathEscape(topic), partition)
}

// localAdmin is for commands that ask a broker by HTTP.
type localAdmin struct {
	streams
	output
	httpAPI
	timeout time.Duration
}

func (l *localAdmin) addFlags(cmd *cobra.Command) {
	l.output.addFlags(cmd.Flags())
	l.addFlag(cmd)
	cmd.Flags().DurationVar(&l.timeout, "timeout", 5*time.Second, "how long to wait for the answer")
}

// ask runs f within the timeout and prints its answer.
func (l *localAdmin) ask(ctx context.Context, f func(context.Context) (answer, error)) error {
	if err := l.check(); err != nil {
		return err
	}
	if l.timeout <= 0 {
		return usageErrorf("--timeout %s: want more than 0s", l.timeout)
	}
	ctx, cancel := context.WithTimeout(ctx, l.timeout)
	defer cancel()
	a, err := f(ctx)
	if err != nil {
		return err
	}
	return l.write(l.out, a)
}

func newPartitionStatus(s streams) *cobra.Command {
	l := &localAdmin{streams: s}
	cmd := &cobra.Command{
		Use: "status TOPIC/PARTITION", Short: "Show how each replica of a partition stands, in Raft's terms", Args: cobra.ExactArgs(1),
		Long: `TERM, LAST, COMMIT, APPLIED and SNAPSHOT are of the Raft log, which also has entries without records: the newest entry, the
newest that is committed, the newest that readers see, and the one before the oldest that is still there. LAG, LOG-END and HIGH-WATERMARK are
offsets. LAST-CONTACT is how long ago the replica heard its leader. It asks a broker on the same machine.`,
		Example: "  broker partition status logs/0\n  broker partition status logs/0 -o json --http 10.0.0.1:8080",
		RunE: func(cmd *cobra.Command, args []string) error {
			topic, partition, err := parsePartition(args[0])
			if err != nil {
				return err
			}
			return l.ask(cmd.Context(), func(ctx context.Context) (answer, error) {
				var p partitionReport
				if err := l.call(ctx, http.MethodGet, partitionPath(topic, partition), &p); err != nil {
					return answer{}, err
				}
				return statusAnswer(&p), nil
			})
		},
	}
	l.addFlags(cmd)
	return cmd
}

func statusAnswer(p *partitionReport) answer {
	summary := section{rows: [][]string{
		{"PARTITION", fmt.Sprintf("%s/%d", p.Topic, p.Partition)},
		{"LEADER", orDash(int64(p.Leader))},
		{"EPOCH", orDash(int64(p.Epoch))},
		{"GENERATION", fmt.Sprint(p.Generation)},
	}}
	if len(p.Target) > 0 {
		summary.rows = append(summary.rows, []string{"MOVING-TO", ids(p.Target)})
	}
	table := section{header: []string{"NODE", "ROLE", "TERM", "LAST", "COMMIT", "APPLIED", "SNAPSHOT", "LAG", "LAST-CONTACT", "LOG-END", "HIGH-WATERMARK", "STATE"}}
	failures := section{}
	for i := range p.Replicas {
		r := &p.Replicas[i]
		if r.Error != "" {
			table.rows = append(table.rows, []string{fmt.Sprint(r.Node), "", "", "", "", "", "", "", "", "", "", r.State})
			failures.rows = append(failures.rows, []string{"NODE " + fmt.Sprint(r.Node), r.Error})
			continue
		}
		state := r.State
		if r.Quarantined {
			state += ",quarantined"
		}
		lag := "-"
		if r.Lag != nil {
			lag = fmt.Sprint(*r.Lag)
		}
		table.rows = append(table.rows, []string{
			fmt.Sprint(r.Node), r.Role, fmt.Sprint(r.Term), fmt.Sprint(r.Last), fmt.Sprint(r.Commit), fmt.Sprint(r.Applied), fmt.Sprint(r.snapshot()), lag, fmt.Sprintf("%dms", r.LastContact),
			orDash(r.LogEnd), orDash(r.HighWatermark), state,
		})
	}
	a := answer{kind: "PartitionStatus", items: []*partitionReport{p}, sections: []section{summary, table}}
	if len(failures.rows) > 0 {
		a.sections = append(a.sections, failures)
	}
	return a
}

func newPartitionTransfer(s streams) *cobra.Command {
	l := &localAdmin{streams: s}
	to := int32(-1)
	cmd := &cobra.Command{
		Use: "transfer-leader TOPIC/PARTITION --to NODE", Short: "Hand a partition's leadership to another replica", Args: cobra.ExactArgs(1),
		Example: "  broker partition transfer-leader logs/0 --to 2",
		RunE: func(cmd *cobra.Command, args []string) error {
			topic, partition, err := parsePartition(args[0])
			if err != nil {
				return err
			}
			if to < 0 {
				return usageErrorf("to which node? Name it with --to")
			}
			return l.ask(cmd.Context(), func(ctx context.Context) (answer, error) {
				var p partitionReport
				if err := l.call(ctx, http.MethodGet, partitionPath(topic, partition), &p); err != nil {
					return answer{}, err
				}
				item := struct {
					Partition string `json:"partition"`
					Status    string `json:"status"`
					From      int32  `json:"from"`
					To        int32  `json:"to"`
				}{args[0], "TRANSFERRED", p.Leader, to}
				if p.Leader == to {
					item.Status = "LEADS-ALREADY"
				} else if err := l.call(ctx, http.MethodPost, fmt.Sprintf("%s/transfer?to=%d", partitionPath(topic, partition), to), &struct{}{}); err != nil {
					return answer{}, err
				}
				return answer{kind: "LeaderTransfer", items: []any{item}, sections: []section{{rows: [][]string{
					{args[0], item.Status, fmt.Sprintf("%s → %d", orDash(int64(item.From)), to)},
				}}}}, nil
			})
		},
	}
	l.addFlags(cmd)
	cmd.Flags().Int32Var(&to, "to", -1, "the `node` that is to lead")
	return cmd
}
