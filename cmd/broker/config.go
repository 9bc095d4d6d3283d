package main

import (
	"fmt"
	"slices"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/stelemq/stele/internal/config"
)

func newConfig(s streams) *cobra.Command {
	return parent("config", "Check, print, explain and change settings",
		"  broker config check -c broker.yaml\n  broker config print -c broker.yaml --origin\n  broker config docs log.dirs", groupOffline,
		newConfigCheck(s), newConfigPrint(s), newConfigDocs(s), newConfigGet(s), newConfigSet(s), newConfigReset(s), newConfigImport(s))
}

// configFlags say where settings come from.
type configFlags struct {
	file string
	sets []string
	port int
	// flags that stand for a setting each
	nodeID, peers, join string
}

func (f *configFlags) addFlags(flags *pflag.FlagSet, withFile bool) {
	if withFile {
		flags.StringVarP(&f.file, "config", "c", "", "file of settings: YAML, or a Kafka server.properties")
	}
	flags.StringArrayVar(&f.sets, "set", nil, "a setting, `key=value`; repeatable, any key")
}

func (f *configFlags) addPort(flags *pflag.FlagSet) {
	flags.IntVar(&f.port, "port", 0, "port of the Kafka listener (the host stays as set)")
}

// addCluster adds the flags that make clusters.
func (f *configFlags) addCluster(flags *pflag.FlagSet) {
	flags.StringVar(&f.nodeID, "node-id", "", "node.id: `id` of this broker, unique in its cluster")
	flags.StringVar(&f.peers, "peers", "", "cluster.peers: the brokers that found a cluster, `id@host:port,…`, the same on all of them")
	flags.StringVar(&f.join, "join", "", "cluster.join: `host:port` of a broker of the cluster to join")
}

// overrides are what flags set.
func (f *configFlags) overrides() ([]config.Override, error) {
	var out []config.Override
	for _, text := range f.sets {
		o, err := config.ParseSet(text)
		if err != nil {
			return nil, err //nolint:wrapcheck // says all
		}
		out = append(out, o)
	}
	for _, o := range []config.Override{
		{Key: "node.id", Value: f.nodeID, Where: "--node-id"},
		{Key: "cluster.peers", Value: f.peers, Where: "--peers"},
		{Key: "cluster.join", Value: f.join, Where: "--join"},
	} {
		if o.Value != "" {
			out = append(out, o)
		}
	}
	return out, nil
}

// load reads the settings; a port replaces that of the only listener.
func (f *configFlags) load(dev bool) (*config.Config, error) {
	r := config.Request{File: f.file, Dev: dev}
	var err error
	if r.Overrides, err = f.overrides(); err != nil {
		return nil, err
	}
	c, err := config.Load(r)
	if err != nil || f.port == 0 {
		return c, err //nolint:wrapcheck // says all
	}
	open := c.Open()
	if f.port < 0 || f.port > 65535 || len(open) != 1 {
		return nil, usageErrorf("--port %d: want a port up to 65535 and exactly one listener; with several use --set listeners=…", f.port)
	}
	open[0].Port = f.port
	r.Overrides = append(r.Overrides, config.Override{Key: "listeners", Value: open[0].Name + "://" + open[0].Address(), Where: "--port"})
	return config.Load(r) //nolint:wrapcheck // says all
}

// warn writes warnings to standard error.
func warn(s streams, c *config.Config) {
	for _, w := range c.Warnings {
		fmt.Fprintln(s.err, w)
	}
}

// completeKeys proposes names of settings.
func completeKeys(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return slices.Clone(config.Names()), cobra.ShellCompDirectiveNoFileComp
}
