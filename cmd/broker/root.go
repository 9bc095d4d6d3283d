package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/stelemq/stele/internal/config"
)

// Groups of commands in the help.
const (
	groupRun     = "run"
	groupAdmin   = "admin"
	groupOffline = "offline"
)

func newRoot(s streams) *cobra.Command {
	dev := devCommand(s)
	root := &cobra.Command{
		Use:   "broker",
		Short: "A replicated commit log that speaks Kafka's protocol",
		Long:  `A replicated commit log that speaks Kafka's protocol. Without a command: one development broker, data in ./data.`,
		Example: `  broker                                        # develop: Kafka on 127.0.0.1:9092, data in ./data
  broker start -c /etc/broker/broker.yaml       # serve, as the file says
  broker topic create logs -p 6                 # administer a running broker`,
		Args:          cobra.NoArgs,
		RunE:          dev.run,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	dev.addFlags(root.Flags())
	root.SetIn(s.in)
	root.SetOut(s.out)
	root.SetErr(s.err)
	root.SetHelpTemplate(helpTemplate)
	root.SetUsageTemplate(usageTemplate)
	root.SuggestionsMinimumDistance = 2
	root.SetGlobalNormalizationFunc(kafkaFlagNames)
	root.CompletionOptions.DisableDefaultCmd = true
	root.AddGroup(
		&cobra.Group{ID: groupRun, Title: "Run:"},
		&cobra.Group{ID: groupAdmin, Title: "Administer a running broker:"},
		&cobra.Group{ID: groupOffline, Title: "Without a broker:"},
	)
	root.SetHelpCommandGroupID(groupOffline)
	root.Args = rootArgs
	root.AddCommand(
		newStart(s), newDev(s), newHealthcheck(s), newDoctor(s),
		newTopic(s), newPartition(s), newGroup(s), newNode(s), newCluster(s), newTop(s), newDebug(s), newBench(s),
		newConfig(s), newLog(s), newVersion(s), newCompletion(s),
	)
	root.AddCommand(newKafkaScripts(s)...)
	root.SetFlagErrorFunc(unknownFlag)
	return root
}

// unknownFlag adds to the refusal of a flag which one may have been meant.
func unknownFlag(cmd *cobra.Command, err error) error {
	var unknown *pflag.NotExistError
	if !errors.As(err, &unknown) {
		return err
	}
	var names []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
	near := config.Suggest(unknown.GetSpecifiedName(), names)
	if near == "" {
		return err
	}
	return fmt.Errorf("%w — did you mean --%s?", err, near)
}

// rootArgs refuses unknown commands and proposes what may have been meant.
func rootArgs(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	return unknownCommand(cmd, args[0])
}

func unknownCommand(cmd *cobra.Command, name string) error {
	text := ""
	if near := cmd.SuggestionsFor(name); len(near) > 0 {
		text = " — did you mean " + strings.Join(near, " or ") + "?"
	}
	return usageErrorf("unknown command %q%s", name, text)
}

// parent is a command that only holds others.
func parent(use, short, example, group string, children ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{
		Use: use, Short: short, Example: example, GroupID: group,
		// The flags are those of a command whose name may be misspelt: say that first.
		FParseErrWhitelist: cobra.FParseErrWhitelist{UnknownFlags: true},
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return unknownCommand(cmd, args[0])
			}
			return usageErrorf("a command is missing: %s", strings.Join(childNames(cmd), ", "))
		},
	}
	cmd.SuggestionsMinimumDistance = 2
	cmd.AddCommand(children...)
	return cmd
}

func childNames(cmd *cobra.Command) []string {
	var names []string
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() {
			names = append(names, c.Name())
		}
	}
	return names
}

// kafkaFlagNames lets the flags of Kafka's scripts be used.
func kafkaFlagNames(_ *pflag.FlagSet, name string) pflag.NormalizedName {
	switch name {
	case "bootstrap-server", "broker-list":
		name = "brokers"
	}
	return pflag.NormalizedName(name)
}

const helpTemplate = `{{with (or .Long .Short)}}{{. | trimTrailingWhitespaces}}

{{end}}{{if or .Runnable .HasSubCommands}}{{.UsageString}}{{end}}`

const usageTemplate = `{{if .HasExample}}Examples:
{{.Example}}

{{end}}Usage:{{if and .Runnable (or (not .HasAvailableSubCommands) (not .HasParent))}}
  {{.UseLine}}{{end}}{{if .HasAvailableSubCommands}}
  {{.CommandPath}} COMMAND{{end}}{{if .HasAvailableSubCommands}}{{$cmds := .Commands}}{{if eq (len .Groups) 0}}

Commands:{{range $cmds}}{{if .IsAvailableCommand}}
  {{rpad .Name .NamePadding }} {{.Short}}{{end}}{{end}}{{else}}{{range $group := .Groups}}

{{.Title}}{{range $cmds}}{{if (and (eq .GroupID $group.ID) (or .IsAvailableCommand (eq .Name "help")))}}
  {{rpad .Name .NamePadding }} {{.Short}}{{end}}{{end}}{{end}}{{end}}{{end}}{{if .HasAvailableLocalFlags}}

Flags:
{{.LocalFlags.FlagUsages | trimTrailingWhitespaces}}{{end}}

Documentation: docs/operations.md, settings: docs/config.md
`
