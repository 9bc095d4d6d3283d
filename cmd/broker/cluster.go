package main

import "github.com/spf13/cobra"

func newCluster(s streams) *cobra.Command {
	return parent("cluster", "Look at a cluster, and mend it", "  broker cluster health\n  broker cluster info -b kafka.example.com:9092 -o json", groupAdmin, newClusterInfo(s), newClusterHealth(s), newRecoverMetadata(s))
}
