package main

import (
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// build identifies the program.
type build struct {
	Version  string `json:"version"`
	Revision string `json:"revision"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

func thisBuild() build {
	b := build{Version: version, Revision: "unknown", Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	if b.Version == "devel" && info.Main.Version != "" && info.Main.Version != "(devel)" {
		b.Version = info.Main.Version
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			b.Revision = s.Value
		}
	}
	return b
}

func newVersion(s streams) *cobra.Command {
	var o output
	cmd := &cobra.Command{
		Use: "version", Short: "Print the version", GroupID: groupOffline, Args: cobra.NoArgs,
		Example: "  broker version\n  broker version -o json",
		RunE: func(*cobra.Command, []string) error {
			if err := o.check(); err != nil {
				return err
			}
			b := thisBuild()
			return o.write(s.out, answer{
				kind: "Version", items: []build{b}, names: []string{b.Version},
				sections: []section{{header: []string{"VERSION", "REVISION", "GO", "PLATFORM"}, rows: [][]string{{b.Version, b.Revision, b.Go, b.Platform}}}},
			})
		},
	}
	o.addFlags(cmd.Flags())
	return cmd
}
