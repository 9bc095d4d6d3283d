package main

import (
	"context"
	"io"

	"github.com/spf13/cobra"

	"github.com/stelemq/stele/client"
	"github.com/stelemq/stele/internal/cli"
)

// run is the program. It reads no input.
func run(ctx context.Context, args []string, _ io.Reader, stdout, stderr io.Writer) error {
	o := new(options)
	cmd := &cobra.Command{
		Use:   "consumer -t TOPIC [flags]",
		Short: "Print the records of a topic.",
		Example: `  consumer -t logs --from-beginning          all there is, and what comes
  consumer -t logs -o -100 -e                the last 100 of each partition
  consumer -t logs -o @-1h -f '%T %k %v\n'   since an hour ago, with time and key
  consumer -t app -t audit --grep v:ERROR    what comes and matches
  consumer -t logs -g app1                   as one of a group that shares the work`,
		Long: `Offsets (-o): start, end, 42, +5 (after the start), -10 (before the end),
@-1h, @2026-01-02T03:04:05Z, @1767323045000 (the first record from then on).
A range FROM:TO stops there: @-2h:-1h, 10:20, :end.

Formats (-f): value, raw (no newline), json, pretty, or a text with verbs:
  %v %k value, key         %V %K their lengths     %t %p %o topic, partition, offset
  %T time (ISO 8601)       %T{ms} %d milliseconds  %d{go[15:04:05]} %d{strftime[%F %T]}
  %h headers as k=v,...    %h{ %k=%v } each so     %H number of headers
  %e leader epoch          %i number               %] high watermark
%k and %v take {hex}, {base64} and {json}; \n \t \xNN are escapes.

More: docs/ in the repository.`,
		Args: cli.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.check(cmd.Flags()); err != nil {
				return err
			}
			return consume(cmd.Context(), o, stdout, stderr)
		},
	}
	o.addFlags(cmd.Flags())
	return cli.Execute(ctx, cmd, args, stdout, stderr) //nolint:wrapcheck // the program's own error
}

// consume finds the topics, and prints what is in them.
func consume(ctx context.Context, o *options, stdout, stderr io.Writer) error {
	c, err := client.New(client.Options{Bootstrap: o.connection.Bootstrap(), ClientID: "consumer", RequestTimeout: o.connection.Timeout})
	if err != nil {
		return err //nolint:wrapcheck // says it all
	}
	defer c.Close() //nolint:errcheck // nothing to be done about it
	assign, err := o.assign(ctx, c, stderr)
	if err != nil {
		return err
	}
	if o.group != "" {
		return consumeGroup(ctx, o, c, stdout, stderr)
	}
	k, err := c.NewConsumer(client.ConsumerOptions{Assign: assign, RequestTimeout: o.connection.Timeout})
	if err != nil {
		return err //nolint:wrapcheck // says it all
	}
	defer k.Close() //nolint:errcheck // nothing to be done about it
	return newPrinter(o, k, stdout, stderr).run(ctx)
}
