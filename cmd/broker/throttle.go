package main

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/stelemq/stele/client"
	"github.com/stelemq/stele/internal/config"
)

// catchUpSetting bounds what each broker hands to replicas that catch up.
const catchUpSetting = "leader.replication.throttled.rate"

// throttled changes how fast replicas catch up for as long as something is watched.
type throttled struct{ rate string }

func (t *throttled) addFlag(cmd *cobra.Command) {
	cmd.Flags().StringVar(&t.rate, "throttle", "", "bytes per second that each broker hands to new replicas meanwhile, `20MiB/s`; what held before holds again afterwards")
}

// run does f under the rate, if there is one, and takes it back when f has returned.
func (t *throttled) run(ctx context.Context, a *admin, f func() error) error {
	if t.rate == "" {
		return f()
	}
	size, err := config.ParseSize(strings.TrimSuffix(t.rate, "/s"))
	if err != nil || size <= 0 {
		return usageErrorf("--throttle %s: want bytes per second, as in 20MiB/s", t.rate)
	}
	value := fmt.Sprint(int64(size))
	var before *string
	everybody := *a
	err = a.once(ctx, func(ctx context.Context, c *client.Client) error {
		nodes, err := c.Nodes(ctx)
		if err != nil {
			return err //nolint:wrapcheck // says all
		}
		for i := range nodes { // whoever was named may be the one that goes
			everybody.brokers += "," + net.JoinHostPort(nodes[i].Host, strconv.Itoa(int(nodes[i].Port)))
		}
		configs, err := c.ClusterConfigs(ctx)
		if err != nil {
			return err //nolint:wrapcheck // says all
		}
		for i := range configs {
			if configs[i].Name == catchUpSetting {
				before = &configs[i].Value
			}
		}
		return c.AlterBrokerConfigs(ctx, -1, []client.ConfigChange{{Name: catchUpSetting, Value: &value}}, false) //nolint:wrapcheck // says all
	})
	if err != nil {
		return a.explain(ctx, err)
	}
	failed := f()
	if err := t.takeBack(context.WithoutCancel(ctx), &everybody, before); err != nil { // after an interrupt, too
		fmt.Fprintf(a.err, "the throttle still holds (%v). Take it back: broker config reset %s\n", err, catchUpSetting)
	}
	return failed
}

// takeBack makes hold what held before. What was watched may have cost the cluster its controller a moment ago: it is tried
// until another one answers.
func (t *throttled) takeBack(ctx context.Context, a *admin, before *string) error {
	const patience, attempt, pause = 20 * time.Second, 3 * time.Second, 200 * time.Millisecond
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		once, done := context.WithTimeout(ctx, attempt)
		err := a.once(once, func(ctx context.Context, c *client.Client) error {
			return c.AlterBrokerConfigs(ctx, -1, []client.ConfigChange{{Name: catchUpSetting, Value: before}}, false) //nolint:wrapcheck // says all
		})
		done()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(pause):
		}
	}
}
