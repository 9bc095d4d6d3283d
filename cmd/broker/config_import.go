package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/stelemq/stele/internal/config"
)

func newConfigImport(s streams) *cobra.Command {
	return &cobra.Command{
		Use: "import FILE", Short: "Turn a Kafka server.properties into settings of this broker", Args: cobra.ExactArgs(1),
		Long: `Prints YAML for -c; on standard error it says what was left out, line by line, and why. Exit code 2 if the file has
settings that must not be ignored: they have to be dealt with first.`,
		Example: "  broker config import server.properties > broker.yaml",
		RunE: func(_ *cobra.Command, args []string) error {
			text, err := os.ReadFile(args[0])
			if err != nil {
				return err //nolint:wrapcheck // says operation and path
			}
			yaml, notes := config.ImportProperties(args[0], text)
			bad := 0
			for _, n := range notes {
				fmt.Fprintln(s.err, n)
				if !n.Warning {
					bad++
				}
			}
			if _, err := io.WriteString(s.out, yaml); err != nil {
				return fmt.Errorf("print: %w", err)
			}
			if bad > 0 {
				return &codeError{exitUsage, errors.New(plural(bad, "setting") + " could not be taken over")}
			}
			return nil
		},
	}
}
