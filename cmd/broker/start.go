package main

import (
	"strings"

	"github.com/spf13/cobra"
)

func newStart(s streams) *cobra.Command {
	var f configFlags
	cmd := &cobra.Command{
		Use: "start", Short: "Serve, as the settings say", GroupID: groupRun, Args: cobra.NoArgs,
		Long: `Serves until it is interrupted. Settings come from --set, the environment (STELE_LOG_DIRS), the file, the
defaults; see docs/config.md. The first SIGINT or SIGTERM lets requests in progress finish, a second one ends at once.`,
		Example: `  broker start -c /etc/broker/broker.yaml
  broker start --set log.dirs=/srv/stele --set listeners=PLAINTEXT://:9092
  broker start -c server.properties
  broker start --node-id 1 --peers 1@10.0.0.1:9192,2@10.0.0.2:9192,3@10.0.0.3:9192   # the same peers on each
  broker start --join 10.0.0.1:9192`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := f.load(false)
			if err != nil {
				return err
			}
			n := &node{config: c, streams: s, remedy: "set listeners to another address", banner: startBanner}
			return n.run(cmd.Context())
		},
	}
	f.addFlags(cmd.Flags(), true)
	f.addPort(cmd.Flags())
	f.addCluster(cmd.Flags())
	return cmd
}

// startBanner notes once what runs, with the settings that are not the defaults.
func startBanner(n *node) {
	var set []string
	for _, l := range n.config.Lines(true) {
		set = append(set, l.Key+"="+l.Value)
	}
	var addresses []string
	for _, l := range n.config.Open() {
		addresses = append(addresses, l.Name+"://"+n.broker.Addr(l.Name).String())
	}
	httpAddress := "off"
	if a := n.broker.HTTPAddr(); a != nil {
		httpAddress = a.String()
	}
	n.logger.Info("serving", "version", thisBuild().Version, "node_id", n.state.Identity().NodeID, "cluster_id", n.state.Identity().ClusterID,
		"listeners", strings.Join(addresses, ","), "http", httpAddress, "dir", n.config.LogDirs[0], "settings", strings.Join(set, " "))
}
