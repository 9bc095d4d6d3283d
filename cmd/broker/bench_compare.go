package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/stelemq/stele/bench/compare"
	"github.com/stelemq/stele/bench/load"
	"github.com/stelemq/stele/bench/report"
	"github.com/stelemq/stele/bench/scenarios"
)

// benchComparison are the flags of what starts systems itself.
type benchComparison struct {
	*benchRun
	dir    string
	port   int
	peer   string
	rounds int
	only   []string
}

func (b *benchComparison) addFlags(cmd *cobra.Command) {
	b.benchRun.addFlags(cmd, false)
	f := cmd.Flags()
	f.StringVar(&b.dir, "dir", "", "`directory` for the data of all systems, which is removed; default: a temporary one")
	f.IntVar(&b.port, "port", 27092, "first of the ports for this program's brokers; 200 are used, a peer's begin 1000 above")
	f.IntVar(&b.rounds, "rounds", 0, "rounds of each scenario; default: the file's")
	f.StringSliceVar(&b.only, "only", nil, "scenarios whose name has one of these words")
}

// systems to be measured: this program first.
func (b *benchComparison) systems(settings map[string][]string) ([]compare.System, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	out := []compare.System{&compare.Stele{Program: program, Dir: b.dir, Port: b.port, Settings: settings["stele"]}}
	switch b.peer {
	case "":
	case "kafka":
		cache, err := os.UserCacheDir()
		if err != nil {
			return nil, fmt.Errorf("find a place for Kafka's jars: %w", err)
		}
		const apart = 1000
		out = append(out, &compare.Kafka{Dir: filepath.Join(cache, "stele-peers"), Port: b.port + apart, Settings: settings["kafka"]})
	default:
		return nil, usageErrorf("--peer %s: want kafka", b.peer)
	}
	return out, nil
}

// plan reads a file of scenarios, or one that comes with the program, by its name.
func (b *benchComparison) plan(name string) (*compare.Plan, error) {
	r, err := openScenarios(name)
	if err != nil {
		return nil, err
	}
	defer r.Close() //nolint:errcheck // read only
	plan, err := compare.ReadPlan(r)
	if err != nil {
		return nil, &codeError{exitUsage, fmt.Errorf("%s: %w", name, err)}
	}
	if b.rounds > 0 {
		plan.Rounds = b.rounds
	}
	if len(b.only) > 0 {
		plan.Scenarios = slices.DeleteFunc(plan.Scenarios, func(s load.Scenario) bool {
			return !slices.ContainsFunc(b.only, func(w string) bool { return strings.Contains(s.Name, w) })
		})
		if len(plan.Scenarios) == 0 {
			return nil, usageErrorf("--only %s: no scenario of %s has such a name", strings.Join(b.only, ","), name)
		}
	}
	return plan, nil
}

func openScenarios(name string) (io.ReadCloser, error) {
	f, err := os.Open(name)
	if err == nil {
		return f, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, err //nolint:wrapcheck // says operation and path
	}
	own, ownErr := scenarios.Open(name)
	if ownErr != nil {
		return nil, usageErrorf("%w; the program's own are %s", err, strings.Join(scenarios.Names(), ", "))
	}
	return own, nil
}

// measure runs a plan on the systems and keeps what is known after each scenario.
func (b *benchComparison) measure(cmd *cobra.Command, name string) error {
	plan, err := b.plan(name)
	if err != nil {
		return err
	}
	end, err := b.begin(os.Args[1:])
	if err != nil {
		return err
	}
	defer end()
	if b.dir == "" {
		if b.dir, err = os.MkdirTemp("", "stele-bench-"); err != nil {
			return err //nolint:wrapcheck // says operation and path
		}
		defer os.RemoveAll(b.dir) //nolint:errcheck // best effort
	}
	if err := os.MkdirAll(b.dir, 0o755); err != nil {
		return err //nolint:wrapcheck // says operation and path
	}
	b.probe = b.dir
	systems, err := b.systems(plan.Settings)
	if err != nil {
		return err
	}
	var names []string
	for _, s := range systems {
		names = append(names, s.Name())
	}
	file := b.file(plan.Title, names...)
	file.Notes = append(file.Notes, "stele "+version)
	c := compare.Comparison{
		Plan: plan, Systems: systems, Dir: b.dir, Say: b.err,
		Observe: func(m *load.Meter) { b.live.current.Store(m) },
		Save: func(f *report.File) error {
			if b.json == "" {
				return nil
			}
			return f.Write(b.json)
		},
	}
	return errors.Join(c.Run(cmd.Context(), file), b.finish(file))
}

func newBenchMatrix(st streams) *cobra.Command {
	b := &benchComparison{benchRun: &benchRun{streams: st}}
	cmd := &cobra.Command{
		Use: "matrix FILE", Short: "Measure the scenarios of a file on brokers that are started for it", Args: cobra.ExactArgs(1),
		Long:    "The file is YAML: title, rounds, scenarios. Those that come with the program: " + strings.Join(scenarios.Names(), ", ") + ".",
		Example: "  broker bench matrix quick\n  broker bench matrix my.yaml --out r.json --html r.html",
		RunE:    func(cmd *cobra.Command, args []string) error { return b.measure(cmd, args[0]) },
	}
	b.addFlags(cmd)
	return cmd
}

func newBenchCompare(st streams) *cobra.Command {
	b := &benchComparison{benchRun: &benchRun{streams: st}}
	cmd := &cobra.Command{
		Use: "compare [FILE]", Short: "Measure this program and a peer beside each other", Args: cobra.MaximumNArgs(1),
		Long: `Starts brokers of this program and of the peer on this machine and runs each scenario on both in turn, with the same client
and the same settings: medians, ranges and ratios. Rounds in which the disk changed are repeated. Kafka needs bash, Java 17 and
Maven; its jars are fetched once.`,
		Example: "  broker bench compare --peer kafka --out r.json --html r.html\n  broker bench compare --peer kafka --only 'RF 1' --rounds 3",
		RunE: func(cmd *cobra.Command, args []string) error {
			name := "kafka"
			if len(args) > 0 {
				name = args[0]
			}
			return b.measure(cmd, name)
		},
	}
	b.addFlags(cmd)
	cmd.Flags().StringVar(&b.peer, "peer", "kafka", "what to compare with: kafka")
	return cmd
}

func newBenchStart(st streams) *cobra.Command {
	b := &benchComparison{benchRun: &benchRun{streams: st}}
	cmd := &cobra.Command{
		Use: "start", Short: "How long this program takes from start to the first acknowledged record", Args: cobra.NoArgs,
		Example: "  broker bench start\n  broker bench start --rounds 10",
		RunE:    func(cmd *cobra.Command, _ []string) error { return b.measure(cmd, "start") },
	}
	b.addFlags(cmd)
	return cmd
}

func newBenchDiff(st streams) *cobra.Command {
	return &cobra.Command{
		Use: "diff BEFORE.json AFTER.json", Short: "Compare two files of results", Args: cobra.ExactArgs(2),
		Long:    "Medians and their ratio; ~ marks ranges that overlap: such a difference may be chance. Compare what one machine measured in turn.",
		Example: "  broker bench diff before.json after.json",
		RunE: func(_ *cobra.Command, args []string) error {
			before, err := report.Read(args[0])
			if err != nil {
				return err //nolint:wrapcheck // says operation and path
			}
			after, err := report.Read(args[1])
			if err != nil {
				return err //nolint:wrapcheck // says operation and path
			}
			return report.Diff(st.out, before, after) //nolint:wrapcheck // of stdout
		},
	}
}
