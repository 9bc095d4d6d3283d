package main

import "github.com/spf13/cobra"

func newLog(s streams) *cobra.Command {
	return parent("log", "Read segment files without a broker",
		"  broker log dump data/logs-0/00000000000000000000.log --records\n  broker log verify data", groupOffline,
		newLogDump(s), newLogVerify(s))
}
