package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/stelemq/stele/client"
	"github.com/stelemq/stele/internal/config"
)

// liveConfig are the commands that change settings of brokers that run.
type liveConfig struct {
	admin
	node int32
}

func (l *liveConfig) addFlags(cmd *cobra.Command) {
	l.admin.addFlags(cmd)
	cmd.Flags().Int32Var(&l.node, "node", -1, "one broker alone, by its `id`; default: all of the cluster")
	cmd.ValidArgsFunction = completeKeys
}

func newConfigSet(s streams) *cobra.Command {
	l := &liveConfig{admin: admin{streams: s}}
	cmd := &cobra.Command{
		Use: "set KEY=VALUE...", Short: "Change settings of brokers while they run", Args: cobra.MinimumNArgs(1),
		Long: `The change holds on all brokers at once and survives restarts; it is stronger than their files. Settings that cannot
change while a broker runs are refused: "broker config docs KEY" says which can.`,
		Example: "  broker config set max.connections=5000\n  broker config set log.level=debug --node 2\n  broker config set leader.replication.throttled.rate=20MiB",
		RunE: func(cmd *cobra.Command, args []string) error {
			var changes []client.ConfigChange
			for _, text := range args {
				key, value, ok := strings.Cut(text, "=")
				if !ok || key == "" {
					return usageErrorf("%q: want key=value", text)
				}
				value, err := kafkaText(key, value)
				if err != nil {
					return err
				}
				changes = append(changes, client.ConfigChange{Name: key, Value: &value})
			}
			return l.change(cmd.Context(), changes)
		},
	}
	l.addFlags(cmd)
	return cmd
}

// kafkaText turns what a user writes into what Kafka's protocol carries.
func kafkaText(key, value string) (string, error) {
	f, ok := config.Lookup(key)
	if !ok {
		return value, nil // brokers know more settings than this program, if they are newer
	}
	if key != f.Key { // log.roll.hours and the like: their plain numbers have other units
		return "", usageErrorf("%s is here another name of %s: set that", key, f.Key)
	}
	if !f.Dynamic {
		return "", &codeError{exitFailure, fmt.Errorf("%s cannot change while a broker runs: set it in the brokers' files and restart them", key)}
	}
	text, err := f.ParseText(value)
	if err != nil {
		return "", usageErrorf("%s: %v", key, err)
	}
	return text, nil
}

func newConfigReset(s streams) *cobra.Command {
	l := &liveConfig{admin: admin{streams: s}}
	cmd := &cobra.Command{
		Use: "reset KEY...", Short: "Take back what config set has set", Args: cobra.MinimumNArgs(1),
		Long:    "What the brokers' own files say, or the default, holds again.",
		Example: "  broker config reset max.connections\n  broker config reset log.level --node 2",
		RunE: func(cmd *cobra.Command, args []string) error {
			var changes []client.ConfigChange
			for _, key := range args {
				if meant := config.Meant(key); meant != "" { // brokers take back what nobody has set
					return fmt.Errorf("there is no setting %q — did you mean %q?", key, meant)
				}
				changes = append(changes, client.ConfigChange{Name: key})
			}
			return l.change(cmd.Context(), changes)
		},
	}
	l.addFlags(cmd)
	return cmd
}

// nodeSetting is a setting as one broker has it.
type nodeSetting struct {
	Key    string `json:"key"`
	Node   int32  `json:"node"`
	Value  string `json:"value"`
	Source string `json:"source"`

	from client.ConfigSource
}

// change carries changes out and looks whether they hold.
func (l *liveConfig) change(ctx context.Context, changes []client.ConfigChange) error {
	return l.ask(ctx, func(ctx context.Context, c *client.Client) (answer, error) {
		if err := c.AlterBrokerConfigs(ctx, l.node, changes, false); err != nil {
			return answer{}, withMeant(err, changes)
		}
		var keys []string
		for _, ch := range changes {
			keys = append(keys, ch.Name)
		}
		var settings []nodeSetting
		var unreached []string
		for begin := time.Now(); ; {
			var err error
			if settings, unreached, err = l.settings(ctx, c, keys); err != nil {
				return answer{}, err
			}
			if l.hold(settings, changes) || time.Since(begin) > time.Second {
				break
			}
			select {
			case <-ctx.Done():
			case <-time.After(20 * time.Millisecond):
			}
		}
		l.sum(settings, changes, unreached)
		return settingsAnswer(settings), nil
	})
}

// withMeant adds to a refusal what misspelt keys may have meant.
func withMeant(err error, changes []client.ConfigChange) error {
	for i := range changes {
		if meant := config.Meant(changes[i].Name); meant != "" {
			err = fmt.Errorf("%w — did you mean %q?", err, meant)
		}
	}
	return err
}

// hold reports whether every broker has what was set, and none what was taken back.
func (l *liveConfig) hold(settings []nodeSetting, changes []client.ConfigChange) bool {
	for _, s := range settings {
		if !l.holds(s, changes) {
			return false
		}
	}
	return true
}

// holds is the same of one broker: one that has a value of its own keeps it when all are changed.
func (l *liveConfig) holds(s nodeSetting, changes []client.ConfigChange) bool {
	takenFrom := client.SourceDynamicBrokersDefault
	if l.node >= 0 {
		takenFrom = client.SourceDynamicBroker
	}
	for _, ch := range changes {
		switch {
		case ch.Name != s.Key:
		case ch.Value != nil && s.Value != *ch.Value, ch.Value == nil && s.from == takenFrom:
			return false
		}
	}
	return true
}

// sum says on how many brokers a change holds.
func (l *liveConfig) sum(settings []nodeSetting, changes []client.ConfigChange, unreached []string) {
	nodes, good := map[int32]bool{}, map[int32]bool{}
	for _, s := range settings {
		if _, seen := nodes[s.Node]; !seen {
			good[s.Node] = true
		}
		nodes[s.Node] = true
		good[s.Node] = good[s.Node] && l.holds(s, changes)
	}
	n := 0
	for _, ok := range good {
		if ok {
			n++
		}
	}
	text := fmt.Sprintf("applied on %d/%d nodes", n, len(nodes)+len(unreached))
	if n < len(nodes) {
		text += "; the others have values of their own: broker config reset KEY --node ID"
	}
	if len(unreached) > 0 {
		text += "; not reached, they take it over when they are back: node " + strings.Join(unreached, ", ")
	}
	fmt.Fprintln(l.err, text)
}

// settings asks each broker, or the one meant, for settings.
func (l *liveConfig) settings(ctx context.Context, c *client.Client, keys []string) (found []nodeSetting, unreached []string, err error) {
	nodes, err := c.Nodes(ctx)
	if err != nil {
		return nil, nil, err //nolint:wrapcheck // says all
	}
	for i := range nodes {
		n := &nodes[i]
		if l.node >= 0 && n.ID != l.node {
			continue
		}
		configs, err := c.BrokerConfigs(ctx, n.ID)
		if err != nil || n.Fenced {
			unreached = append(unreached, strconv.Itoa(int(n.ID)))
			continue
		}
		for _, key := range keys {
			s := nodeSetting{Key: key, Node: n.ID, Source: client.SourceUnknown.String()}
			for _, k := range configs {
				if k.Name == key {
					s.Value, s.Source, s.from = k.Value, k.Source.String(), k.Source
				}
			}
			found = append(found, s)
		}
	}
	return found, unreached, nil
}

func settingsAnswer(settings []nodeSetting) answer {
	a := answer{kind: "BrokerSettings", items: settings, sections: []section{{header: []string{"KEY", "NODE", "VALUE", "SOURCE"}}}}
	for _, s := range settings {
		a.names = append(a.names, s.Value)
		a.sections[0].rows = append(a.sections[0].rows, []string{s.Key, strconv.Itoa(int(s.Node)), s.Value, s.Source})
	}
	return a
}

func newConfigGet(s streams) *cobra.Command {
	l := &liveConfig{admin: admin{streams: s}}
	cmd := &cobra.Command{
		Use: "get KEY...", Short: "Show settings of brokers as they hold now", Args: cobra.MinimumNArgs(1),
		Example: "  broker config get max.connections\n  broker config get log.dirs --node 2 -o name",
		RunE: func(cmd *cobra.Command, keys []string) error {
			return l.ask(cmd.Context(), func(ctx context.Context, c *client.Client) (answer, error) {
				settings, _, err := l.settings(ctx, c, keys)
				if err != nil {
					return answer{}, err
				}
				for _, s := range settings {
					if s.from == client.SourceUnknown {
						return answer{}, noSuchKey(s.Key)
					}
				}
				return settingsAnswer(settings), nil
			})
		},
	}
	l.addFlags(cmd)
	return cmd
}
