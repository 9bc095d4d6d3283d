package main

import (
	"context"
	"fmt"
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
	err = a.once(ctx, func(ctx context.Context, c *client.Client) error {
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
	const moment = 5 * time.Second
	again, cancel := context.WithTimeout(context.WithoutCancel(ctx), moment) // after an interrupt, too
	defer cancel()
	err = a.once(again, func(ctx context.Context, c *client.Client) error {
		return c.AlterBrokerConfigs(ctx, -1, []client.ConfigChange{{Name: catchUpSetting, Value: before}}, false) //nolint:wrapcheck // says all
	})
	if err != nil {
		fmt.Fprintf(a.err, "the throttle still holds (%v). Take it back: broker config reset %s\n", err, catchUpSetting)
	}
	return failed
}
