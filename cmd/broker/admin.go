package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/stelemq/stele/client"
	"github.com/stelemq/stele/internal/cli"
)

// admin holds what every command that talks to a broker takes.
type admin struct {
	streams
	output
	brokers string
	timeout time.Duration
}

func (a *admin) addFlags(cmd *cobra.Command) {
	a.output.addFlags(cmd.Flags())
	cmd.Flags().StringVarP(&a.brokers, "brokers", "b", cli.DefaultBrokers(), "brokers to ask first, `host:port`, several by commas")
	cmd.Flags().DurationVar(&a.timeout, "timeout", 5*time.Second, "how long to wait for the answer")
}

// ask runs f with a client and prints its answer. What f could not do for some of its objects it returns as an
// error beside the answer.
func (a *admin) ask(ctx context.Context, f func(context.Context, *client.Client) (answer, error)) error {
	if err := a.check(); err != nil {
		return err
	}
	if a.timeout <= 0 {
		return usageErrorf("--timeout %s: want more than 0s", a.timeout)
	}
	var result answer
	err := a.once(ctx, func(ctx context.Context, c *client.Client) (err error) {
		result, err = f(ctx, c)
		return err
	})
	if err != nil && result.kind == "" {
		return a.explain(ctx, err)
	}
	return errors.Join(a.write(a.out, result), err)
}

// once runs f with a client, within the timeout.
func (a *admin) once(ctx context.Context, f func(context.Context, *client.Client) error) error {
	ctx, cancel := context.WithTimeout(ctx, a.timeout)
	defer cancel()
	c, err := client.New(client.Options{
		Bootstrap: strings.Split(a.brokers, ","), ClientID: "broker-cli", RequestTimeout: a.timeout, DialTimeout: a.timeout,
	})
	if err != nil {
		return &codeError{exitUsage, err}
	}
	defer c.Close() //nolint:errcheck // nothing is pending
	return f(ctx, c)
}

// explain says how long was waited where a deadline was missed, and keeps an interrupt apart from it.
func (a *admin) explain(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx) //nolint:wrapcheck // an interrupt
	case errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, client.ErrUnreachable):
		return fmt.Errorf("%w (waited %s; see --timeout)", err, a.timeout)
	default:
		return err
	}
}

// completeTopics proposes the names of topics, within a moment.
func (a *admin) completeTopics(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	const moment = 300 * time.Millisecond
	ctx, cancel := context.WithTimeout(cmd.Context(), moment)
	defer cancel()
	c, err := client.New(client.Options{Bootstrap: strings.Split(a.brokers, ","), DialTimeout: moment})
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	defer c.Close() //nolint:errcheck // nothing is pending
	topics, err := c.Topics(ctx)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	names := make([]string, 0, len(topics))
	for _, t := range topics {
		names = append(names, t.Name)
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
