package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/stelemq/stele/internal/config"
)

func newConfigPrint(s streams) *cobra.Command {
	var f configFlags
	var o output
	var defaults, diff, origin bool
	cmd := &cobra.Command{
		Use: "print", Short: "Print the settings that hold", Args: cobra.NoArgs,
		Example: `  broker config print -c broker.yaml --origin   # and where each comes from
  broker config print -c broker.yaml --diff     # only what differs from the defaults
  broker config print --defaults -o json`,
		RunE: func(*cobra.Command, []string) error {
			if err := o.check(); err != nil {
				return err
			}
			if defaults && diff {
				return usageErrorf("--defaults and --diff contradict each other")
			}
			var c *config.Config
			var err error
			if defaults {
				c, err = config.Load(config.Request{DefaultsOnly: true})
			} else {
				c, err = f.load(false)
			}
			if err != nil {
				return err //nolint:wrapcheck // says all
			}
			warn(s, c)
			lines := c.Lines(diff)
			if o.format == "text" {
				if _, err := io.WriteString(s.out, config.YAML(lines, origin)); err != nil {
					return fmt.Errorf("print: %w", err)
				}
				return nil
			}
			a := answer{kind: "SettingList", items: lines}
			for _, l := range lines {
				a.names = append(a.names, l.Key)
			}
			return o.write(s.out, a)
		},
	}
	f.addFlags(cmd.Flags(), true)
	o.addFlags(cmd.Flags())
	cmd.Flags().BoolVar(&defaults, "defaults", false, "the defaults, whatever is set")
	cmd.Flags().BoolVar(&diff, "diff", false, "only what differs from the defaults")
	cmd.Flags().BoolVar(&origin, "origin", false, "say where each value comes from")
	return cmd
}
