package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/stelemq/stele/client"
)

// clusterHealth is the answer of `broker cluster health`.
type clusterHealth struct {
	Healthy bool     `json:"healthy"`
	Reasons []reason `json:"reasons"`
	Nodes   int      `json:"nodes"`
	NodesUp int      `json:"nodes_up"`
	// Partitions, and how many of them are in trouble.
	Partitions      int `json:"partitions"`
	Offline         int `json:"offline"`
	UnderReplicated int `json:"under_replicated"`
	UnderMinISR     int `json:"under_min_isr"`
	// Voters are the nodes that vote on the metadata; VotersWanted is 0 where the cluster does not tell.
	Voters       []int32 `json:"metadata_voters"`
	VotersWanted int     `json:"metadata_voters_wanted"`
}

// reason is one thing that is wrong, and what to do.
type reason struct {
	Kind   string `json:"kind"`
	Text   string `json:"text"`
	Remedy string `json:"remedy"`
}

func newClusterHealth(s streams) *cobra.Command {
	a := &admin{streams: s}
	var watch, untilHealthy bool
	var interval time.Duration
	cmd := &cobra.Command{
		Use: "health", Short: "Say whether a cluster is healthy, why not, and what to do", Args: cobra.NoArgs,
		Long: `Healthy: every broker answers, every partition has a leader, all its replicas are in sync, and as many
brokers vote on the metadata as should.
Exit code 0 if healthy, 10 if not, 1 if nobody could be asked.`,
		Example: `  broker cluster health
  broker cluster health -o json
  broker cluster health --watch --exit-when-healthy   # wait until all replicas have caught up`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if watch || untilHealthy {
				return a.watchHealth(cmd.Context(), untilHealthy, interval)
			}
			healthy := true
			err := a.ask(cmd.Context(), func(ctx context.Context, c *client.Client) (answer, error) {
				h, err := judge(ctx, c)
				if err != nil {
					return answer{}, err
				}
				healthy = h.Healthy
				return h.answer(), nil
			})
			if err == nil && !healthy {
				return &codeError{exitFinding, nil}
			}
			return err
		},
	}
	a.addFlags(cmd)
	cmd.Flags().BoolVar(&watch, "watch", false, "go on, and say when something changes")
	cmd.Flags().BoolVar(&untilHealthy, "exit-when-healthy", false, "watch, and end with code 0 when the cluster is healthy")
	cmd.Flags().DurationVar(&interval, "interval", 500*time.Millisecond, "how often to ask while watching")
	return cmd
}

// judge asks a cluster and says what is wrong.
func judge(ctx context.Context, c *client.Client) (*clusterHealth, error) {
	v, err := view(ctx, c, true)
	if err != nil {
		return nil, err
	}
	if err := v.askMinISR(ctx, c); err != nil {
		return nil, err
	}
	return v.health(), nil
}

func (v *clusterView) health() *clusterHealth {
	parts := v.partitions()
	h := &clusterHealth{Nodes: len(v.nodes), Partitions: len(parts), Reasons: []reason{}}
	down := map[int32]bool{}
	for i := range v.nodes {
		n := &v.nodes[i]
		if n.up() {
			h.NodesUp++
			continue
		}
		down[n.ID] = true
		h.Reasons = append(h.Reasons, n.trouble())
	}
	if v.controller < 0 || v.alone {
		h.Reasons = append(h.Reasons, reason{
			"no_controller", "the cluster has no controller: topics cannot be created or changed",
			"Start brokers until a majority of those that vote on the metadata runs. If others say that there is a controller, the broker that was asked is cut off, or was taken out of the cluster.",
		})
	}
	if r, ok := v.voteless(h); ok {
		h.Reasons = append(h.Reasons, r)
	}
	offline, under, underMin := filter(parts, partitionOffline), filter(parts, partitionUnderRepl), filter(parts, partitionUnderMin)
	h.Offline, h.UnderReplicated, h.UnderMinISR = len(offline), len(under), len(underMin)
	if len(offline) > 0 {
		h.Reasons = append(h.Reasons, reason{
			"offline", plural(len(offline), "partition") + " without a leader: " + some(offline) + detail(&offline[0], down),
			"Start the brokers that hold their replicas. If those are lost for good: broker partition recover " + slashed(&offline[0]) + " --dry-run",
		})
	}
	if len(underMin) > 0 {
		h.Reasons = append(h.Reasons, reason{
			"under_min_isr", plural(len(underMin), "partition") + " with fewer replicas in sync than min.insync.replicas, so acks=all is refused: " + some(underMin),
			"Start the brokers that are missing, or lower min.insync.replicas of the topic.",
		})
	}
	if lacking := len(under) - len(offline); lacking > 0 {
		remedy := "Start the brokers that are missing."
		if len(down) == 0 {
			remedy = "Wait: replicas catch up. See how far they are: broker partition status " + slashed(&under[0])
		}
		h.Reasons = append(h.Reasons, reason{"under_replicated", plural(len(under), "partition") + " under-replicated: " + some(under), remedy})
	}
	h.Healthy = len(h.Reasons) == 0
	return h
}

// voteless is the reason where fewer replicas of the metadata vote than should.
func (v *clusterView) voteless(h *clusterHealth) (reason, bool) {
	h.Voters = []int32{}
	if v.quorum == nil {
		return reason{}, false
	}
	h.Voters, h.VotersWanted = append(h.Voters, v.quorum.Voting()...), v.quorum.Wanted
	if len(h.Voters) >= h.VotersWanted {
		return reason{}, false
	}
	var without []string
	for _, o := range v.quorum.Observers {
		without = append(without, fmt.Sprint(o.Node))
	}
	text := fmt.Sprintf("%d of %d wanted brokers vote on the metadata", len(h.Voters), h.VotersWanted)
	if len(without) > 0 {
		text += "; without a vote yet: node " + strings.Join(without, ", ")
	}
	return reason{
		"metadata_voters", text,
		"Wait until it votes, and stop no other broker and replace no other disk before, or the cluster may lose its controller: broker cluster health --watch --exit-when-healthy",
	}, true
}

func slashed(p *partitionView) string { return fmt.Sprintf("%s/%d", p.Topic, p.Partition) }

// detail says how far a partition is from having a leader.
func detail(p *partitionView, down map[int32]bool) string {
	there := 0
	for _, r := range p.Replicas {
		if !down[r] {
			there++
		}
	}
	if need := majority(len(p.Replicas)); there < need {
		return fmt.Sprintf(" (%d of %d replicas reachable, %d needed)", there, len(p.Replicas), need)
	}
	return ""
}

func (n *nodeView) trouble() reason {
	name := fmt.Sprintf("node %d (%s)", n.ID, n.Addr())
	if n.Fenced {
		return reason{"node_down", name + " is down: the cluster has not heard it for broker.session.timeout.ms", fmt.Sprintf("Start it again. If it is lost for good: broker node decommission %d", n.ID)}
	}
	var why string
	if e, ok := errors.AsType[*client.Error](n.unreachable); ok {
		why = e.Error()
	} else {
		why = n.unreachable.Error()
	}
	return reason{"node_unreachable", name + " cannot be reached from here: " + why, "Start it again, or look at the network between here and there."}
}

func (h *clusterHealth) answer() answer {
	a := answer{kind: "ClusterHealth", items: []*clusterHealth{h}, names: []string{h.verdict()}}
	a.sections = []section{{rows: [][]string{
		{"HEALTH", h.verdict()},
		{"NODES", fmt.Sprintf("%d of %d up", h.NodesUp, h.Nodes)},
		{"METADATA", h.voters()},
		{"PARTITIONS", fmt.Sprintf("%d, offline %d, under-replicated %d, under min.insync.replicas %d", h.Partitions, h.Offline, h.UnderReplicated, h.UnderMinISR)},
	}}}
	for _, r := range h.Reasons {
		a.sections = append(a.sections, section{rows: [][]string{{"REASON", r.Text}, {"REMEDY", r.Remedy}}})
	}
	return a
}

// voters says who votes on the metadata.
func (h *clusterHealth) voters() string {
	if len(h.Voters) == 0 {
		return "voters unknown"
	}
	text := "voters " + strings.Trim(strings.ReplaceAll(fmt.Sprint(h.Voters), " ", ", "), "[]")
	if h.VotersWanted > 0 {
		text += fmt.Sprintf(" (%d wanted)", h.VotersWanted)
	}
	return text
}

func (h *clusterHealth) verdict() string {
	if h.Healthy {
		return "healthy"
	}
	return "unhealthy"
}

// line is all of it in one.
func (h *clusterHealth) line() string {
	if h.Healthy {
		return fmt.Sprintf("healthy: %s, %s", plural(h.Nodes, "node"), plural(h.Partitions, "partition"))
	}
	var why []string
	for _, r := range h.Reasons {
		why = append(why, r.Text)
	}
	return "unhealthy: " + strings.Join(why, "; ")
}

// watchHealth says how a cluster is whenever that changes.
func (a *admin) watchHealth(ctx context.Context, untilHealthy bool, interval time.Duration) error {
	if err := a.check(); err != nil {
		return err
	}
	if interval <= 0 || a.timeout <= 0 {
		return usageErrorf("--interval and --timeout must be more than 0s")
	}
	last := ""
	for {
		var h *clusterHealth
		err := a.once(ctx, func(ctx context.Context, c *client.Client) (err error) {
			h, err = judge(ctx, c)
			return err
		})
		var line string
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx) //nolint:wrapcheck // an interrupt
		case err != nil:
			line = "cannot ask: " + err.Error()
		default:
			line = h.line()
		}
		if line != last {
			last = line
			if a.format == "text" {
				fmt.Fprintf(a.out, "%s %s\n", time.Now().Format(time.TimeOnly), line)
			} else if h != nil {
				if err := a.write(a.out, h.answer()); err != nil {
					return err
				}
			}
		}
		if untilHealthy && h != nil && h.Healthy {
			return nil
		}
		select {
		case <-ctx.Done():
		case <-time.After(interval):
		}
	}
}
