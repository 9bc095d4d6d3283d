package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/stelemq/stele/client"
)

// top is `broker top`.
type top struct {
	admin
	interval time.Duration
	rounds   int
	once     bool
	plain    bool
	rows     int
	internal bool
}

func newTop(s streams) *cobra.Command {
	t := &top{admin: admin{streams: s}}
	cmd := &cobra.Command{
		Use: "top", Short: "Watch rates, lags and replicas of a cluster", GroupID: groupAdmin, Args: cobra.NoArgs,
		Long: `Shows, again and again, the records a second that topics get and brokers lead, the lag of groups, and what is
under-replicated or offline, the busiest and the most behind first. It asks by Kafka's protocol alone, so it works against any
cluster. On a terminal it redraws the screen until Ctrl-C; elsewhere it prints one line for each broker, topic and group with
the time before it. With -o json each round is one line. --once looks twice, an interval apart, and prints once.`,
		Example: "  broker top\n  broker top --once\n  broker top -b kafka.example.com:9092 --interval 10s -o json | jq .items[0].groups",
		RunE:    func(cmd *cobra.Command, _ []string) error { return t.run(cmd.Context()) },
	}
	t.addFlags(cmd)
	f := cmd.Flags()
	f.DurationVar(&t.interval, "interval", 2*time.Second, "time between two looks")
	f.IntVarP(&t.rounds, "rounds", "n", 0, "end after so many `rounds`; 0: go on")
	f.BoolVar(&t.once, "once", false, "one round, then end; as -n 1 --plain")
	f.BoolVar(&t.plain, "plain", false, "lines also on a terminal")
	f.IntVar(&t.rows, "rows", 0, "at most so many topics and groups; default: what the terminal has room for, elsewhere all")
	f.BoolVar(&t.internal, "internal", false, "include internal topics")
	return cmd
}

func (t *top) run(ctx context.Context) error {
	switch {
	case t.format != "text" && t.format != "json":
		return usageErrorf("-o %s: want text or json", t.format)
	case t.interval < 100*time.Millisecond:
		return usageErrorf("--interval %s: want at least 100ms", t.interval)
	case t.timeout <= 0:
		return usageErrorf("--timeout %s: want more than 0s", t.timeout)
	case t.rounds < 0 || t.rows < 0:
		return usageErrorf("--rounds and --rows count: want 0 or more")
	}
	if t.once {
		t.rounds, t.plain = 1, true
	}
	c, err := client.New(client.Options{
		Bootstrap: strings.Split(t.brokers, ","), ClientID: "broker-cli", RequestTimeout: t.timeout, DialTimeout: t.timeout,
	})
	if err != nil {
		return &codeError{exitUsage, err}
	}
	defer c.Close() //nolint:errcheck // nothing is pending
	err = t.watch(ctx, c)
	if ctx.Err() != nil && t.rounds == 0 {
		return nil // that is how it ends
	}
	return err
}

// watch takes samples and shows each beside the one before it.
func (t *top) watch(ctx context.Context, c *client.Client) error {
	var before *topSample
	tick := time.NewTicker(t.interval)
	defer tick.Stop()
	for shown := 0; t.rounds == 0 || shown < t.rounds; {
		s, err := t.sample(ctx, c)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx) //nolint:wrapcheck // an interrupt
		case err != nil && before == nil:
			return err // it was never reached
		case err != nil:
			fmt.Fprintf(t.err, "%s\n", err) // it may come back
		case before != nil:
			if err := t.show(s.report(before)); err != nil {
				return err
			}
			shown++
		}
		if err == nil {
			before = s
		}
		if t.rounds > 0 && shown >= t.rounds {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx) //nolint:wrapcheck // an interrupt
		}
	}
	return nil
}

func (t *top) sample(ctx context.Context, c *client.Client) (*topSample, error) {
	ctx, cancel := context.WithTimeout(ctx, t.timeout)
	defer cancel()
	s, err := takeTopSample(ctx, c, t.internal)
	if err != nil {
		return nil, t.explain(ctx, err)
	}
	return s, nil
}

func (t *top) show(r topReport) error {
	if t.format == "json" {
		text, err := json.Marshal(envelope{"Top", 1, []topReport{r}})
		if err != nil {
			return fmt.Errorf("print: %w", err)
		}
		return print1(t.out, append(text, '\n'))
	}
	rows := t.rows
	if t.plain || !isTerminal(t.out) {
		return print1(t.out, r.lines(rows))
	}
	height := 40
	if f, ok := t.out.(*os.File); ok {
		if _, h, err := term.GetSize(int(f.Fd())); err == nil { //nolint:gosec // small
			height = h
		}
	}
	if rows == 0 {
		const around = 11 // lines of titles, summary and space between
		rows = max(3, (height-around-len(r.Nodes))/2)
	}
	const wipe = "\x1b[H\x1b[2J"
	return print1(t.out, append([]byte(wipe), r.screen(rows)...))
}

func print1(w io.Writer, text []byte) error {
	if _, err := w.Write(text); err != nil {
		return errors.Join(errors.New("print"), err)
	}
	return nil
}

// rateText is a rate for people.
func rateText(v *float64) string {
	switch {
	case v == nil:
		return "-"
	case *v == 0:
		return "0"
	case *v < 10 && *v > -10:
		return fmt.Sprintf("%.1f", *v)
	}
	return fmt.Sprintf("%.0f", *v)
}

func atMost[T any](all []T, rows int) []T {
	if rows > 0 && len(all) > rows {
		return all[:rows]
	}
	return all
}

// summary is one line about everything.
func (r *topReport) summary() string {
	text := fmt.Sprintf("%d brokers, %d topics, %d partitions, %s records/s, %d offline, %d under-replicated", len(r.Nodes), len(r.Topics), r.Partitions,
		rateText(r.Rate), r.Offline, r.UnderReplicated)
	if r.GroupsLeft > 0 {
		text += fmt.Sprintf(" (%d groups are left out)", r.GroupsLeft)
	}
	return text
}

// screen is the report as tables.
func (r *topReport) screen(rows int) []byte {
	nodes := section{header: []string{"NODE", "ADDRESS", "STATE", "LEADERS", "REPLICAS", "OUT-OF-SYNC", "RECORDS/S"}}
	for _, n := range r.Nodes {
		nodes.rows = append(nodes.rows, []string{fmt.Sprint(n.Node), n.Address, n.State, fmt.Sprint(n.Leaders), fmt.Sprint(n.Replicas), fmt.Sprint(n.UnderReplicated), rateText(n.Rate)})
	}
	topics := section{header: []string{"TOPIC", "PARTITIONS", "RECORDS/S", "END", "OFFLINE", "UNDER-REPLICATED"}}
	for _, x := range atMost(r.Topics, rows) {
		topics.rows = append(topics.rows, []string{x.Topic, fmt.Sprint(x.Partitions), rateText(x.Rate), fmt.Sprint(x.Records), fmt.Sprint(x.Offline), fmt.Sprint(x.UnderReplicated)})
	}
	groups := section{header: []string{"GROUP", "STATE", "LAG", "RECORDS/S"}}
	for _, g := range atMost(r.Groups, rows) {
		groups.rows = append(groups.rows, []string{g.Group, g.State, fmt.Sprint(g.Lag), rateText(g.Rate)})
	}
	head := r.Time.Format(time.TimeOnly) + "  " + r.summary() + "  (Ctrl-C ends)\n\n"
	return append([]byte(head), answer{sections: []section{nodes, topics, groups}}.table(false)...)
}

// lines is the report as lines that each say all, for files and pipes.
func (r *topReport) lines(rows int) []byte {
	var b strings.Builder
	at := r.Time.Format(time.RFC3339)
	fmt.Fprintf(&b, "%s cluster %s\n", at, r.summary())
	for _, n := range r.Nodes {
		fmt.Fprintf(&b, "%s node %d address=%s state=%s leaders=%d replicas=%d out_of_sync=%d records/s=%s\n", at, n.Node, n.Address, n.State, n.Leaders, n.Replicas, n.UnderReplicated, rateText(n.Rate))
	}
	for _, x := range atMost(r.Topics, rows) {
		fmt.Fprintf(&b, "%s topic %s partitions=%d records/s=%s end=%d offline=%d under_replicated=%d\n", at, x.Topic, x.Partitions, rateText(x.Rate), x.Records, x.Offline, x.UnderReplicated)
	}
	for _, g := range atMost(r.Groups, rows) {
		fmt.Fprintf(&b, "%s group %s state=%s lag=%d records/s=%s\n", at, g.Group, g.State, g.Lag, rateText(g.Rate))
	}
	return []byte(b.String())
}
