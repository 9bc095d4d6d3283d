package main

import (
	"context"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/stelemq/stele/client"
	"github.com/stelemq/stele/internal/cli"
)

// recordTimeout is how long a record is tried unless --timeout says otherwise:
// longer than the first contact may take, to outlive a change of leader or the
// restart of a broker.
const recordTimeout = 2 * time.Minute

// run is the program.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) error {
	o := new(options)
	cmd := &cobra.Command{
		Use:   "producer -t TOPIC [flags]",
		Short: "Write records to a topic: each line of the input is one.",
		Example: `  producer -t logs < access.log                    lines of a file
  tail -F app.log | producer -t logs               and as they come
  producer -t users -k u1 -H trace=abc -m hello    one record
  consumer -t a -f json -e --from-beginning | producer --json -t b`,
		Long: `Input formats: -f '%k\t%v\n' reads keys and values; verbs are %k %v %t %p and
%d (milliseconds), each ended by the text that follows. --json reads an object
per line: {"key":..,"value":..,"headers":..,"partition":..,"timestamp":..}.

More: docs/ in the repository.`,
		Args: cli.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.check(cmd.Flags()); err != nil {
				return err
			}
			return produce(cmd.Context(), o, stdin, stderr)
		},
	}
	o.addFlags(cmd.Flags())
	return cli.Execute(ctx, cmd, args, stdout, stderr) //nolint:wrapcheck // the program's own error
}

// produce connects, writes what there is, and says what became of it.
func produce(ctx context.Context, o *options, stdin io.Reader, stderr io.Writer) error {
	c, err := client.New(client.Options{Bootstrap: o.connection.Bootstrap(), ClientID: "producer", RequestTimeout: o.connection.Timeout})
	if err != nil {
		return err //nolint:wrapcheck // says it all
	}
	defer c.Close() //nolint:errcheck // nothing to be done about it
	s := newSession(o, stdin, stderr)
	p, err := c.NewProducer(client.ProducerOptions{
		Acks: o.acksValue, NotIdempotent: !o.idempotent, Codec: o.codec, Linger: o.lingerValue,
		BatchBytes: int(o.batchBytesValue), BufferBytes: max(64<<20, 4*int(o.batchBytesValue)),
		DeliveryTimeout: o.recordTimeout, RequestTimeout: min(o.recordTimeout, 30*time.Second),
		Partitioner: partitioner, OnBatch: s.onBatch,
	})
	if err != nil {
		return err //nolint:wrapcheck // says it all
	}
	if err := s.contact(ctx, c); err != nil {
		_ = p.Close(ctx)
		return err
	}
	return s.run(ctx, p)
}

// partitioner goes by the record's partition where it has one.
func partitioner(r *client.Record, n int32) int32 {
	if r.Partition >= 0 {
		return r.Partition
	}
	return client.ByKey(r, n)
}
