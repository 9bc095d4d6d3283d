package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

func newCompletion(s streams) *cobra.Command {
	return &cobra.Command{
		Use: "completion bash|zsh|fish|powershell", Short: "Print a completion script for a shell", GroupID: groupOffline,
		Example:               "  source <(broker completion bash)\n  broker completion zsh > \"${fpath[1]}/_broker\"",
		Args:                  cobra.ExactArgs(1),
		ValidArgs:             []string{"bash", "zsh", "fish", "powershell"},
		DisableFlagsInUseLine: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			var err error
			switch root := cmd.Root(); args[0] {
			case "bash":
				err = root.GenBashCompletionV2(s.out, true)
			case "zsh":
				err = root.GenZshCompletion(s.out)
			case "fish":
				err = root.GenFishCompletion(s.out, true)
			case "powershell":
				err = root.GenPowerShellCompletionWithDesc(s.out)
			default:
				return usageErrorf("no completion for %q: want bash, zsh, fish or powershell", args[0])
			}
			if err != nil {
				return fmt.Errorf("write: %w", err)
			}
			return nil
		},
	}
}
