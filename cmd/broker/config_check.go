package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

func newConfigCheck(s streams) *cobra.Command {
	var f configFlags
	cmd := &cobra.Command{
		Use: "check", Short: "Name every mistake in a set of settings", Args: cobra.NoArgs,
		Long:    "Reads the settings as `broker start` would and names every mistake, with file and line. Exit code 2 if there is one.",
		Example: "  broker config check -c broker.yaml\n  broker config check -c server.properties --set node.id=2",
		RunE: func(*cobra.Command, []string) error {
			c, err := f.load(false)
			if err != nil {
				return err
			}
			warn(s, c)
			fmt.Fprintf(s.err, "settings are good: %d differ from the defaults, %d warnings\n", len(c.Lines(true)), len(c.Warnings))
			return nil
		},
	}
	f.addFlags(cmd.Flags(), true)
	return cmd
}
