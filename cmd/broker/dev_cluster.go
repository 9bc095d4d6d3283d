package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/stelemq/stele/internal/cli"
)

// devCluster is a cluster of processes on this machine, for development. They run in the background; the file dev.json in
// the directory says which.
type devCluster struct {
	streams
	dir  string
	ctl  *cli.DevCluster
	sets []string
}

const (
	devPort = 19092
	// devRaftDistance and devHTTPPort place the other ports.
	devRaftDistance = 100
	devHTTPPort     = 8081
	devReadyTimeout = 30 * time.Second
	devPoll         = 20 * time.Millisecond
)

func newDev(s streams) *cobra.Command {
	d := &devCluster{streams: s}
	var nodes, port int
	cmd := &cobra.Command{
		Use: "dev", Short: "Run a cluster of several brokers on this machine, for development", GroupID: groupRun, Args: cobra.NoArgs,
		Long: `Starts brokers in the background, on loopback, and returns when they serve. They keep their data, and run until
"broker dev stop". Commands and clients of Stele that are started in the same folder find them by themselves.`,
		Example: `  broker dev -n 3                # three brokers on 127.0.0.1:19092, 19093, 19094
  broker dev kill 2              # kill -9
  broker dev start 2
  broker dev status
  broker dev stop --purge        # stop all, remove the data`,
		RunE: func(cmd *cobra.Command, _ []string) error { return d.up(cmd, nodes, port) },
	}
	cmd.PersistentFlags().StringVar(&d.dir, "data-dir", cli.DevDir, "`directory` of the brokers' data and logs")
	cmd.Flags().IntVarP(&nodes, "nodes", "n", 3, "number of brokers, 1 to 5")
	cmd.Flags().IntVar(&port, "port", devPort, "Kafka port of the first broker; the others follow, Raft ports lie 100 above")
	cmd.Flags().StringArrayVar(&d.sets, "set", nil, "a setting of all brokers, `key=value`; repeatable")
	cmd.AddCommand(d.killCommand(), d.startCommand(), d.stopCommand(), d.statusCommand())
	return cmd
}

func (d *devCluster) killCommand() *cobra.Command {
	return &cobra.Command{
		Use: "kill N...", Short: "Kill brokers at once, as a crash would", Args: cobra.MinimumNArgs(1),
		Example: "  broker dev kill 2",
		RunE: func(_ *cobra.Command, args []string) error {
			return d.each(args, func(n *cli.DevNode) error {
				if !n.Running() {
					return fmt.Errorf("broker %d does not run", n.ID)
				}
				if err := d.end(n, os.Kill); err != nil {
					return err
				}
				fmt.Fprintf(d.err, "broker %d killed. Back: broker dev start %d\n", n.ID, n.ID)
				return nil
			})
		},
	}
}

func (d *devCluster) startCommand() *cobra.Command {
	return &cobra.Command{
		Use: "start N...", Short: "Start brokers that were killed", Args: cobra.MinimumNArgs(1),
		Example: "  broker dev start 2",
		RunE: func(cmd *cobra.Command, args []string) error {
			began := time.Now()
			return d.each(args, func(n *cli.DevNode) error {
				if n.Running() {
					return fmt.Errorf("broker %d runs already (pid %d)", n.ID, n.PID)
				}
				if err := d.launch(n); err != nil {
					return err
				}
				if err := d.ctl.Write(d.dir); err != nil {
					return err //nolint:wrapcheck // says operation and path
				}
				if err := d.awaitOpen(cmd.Context(), n); err != nil {
					return err
				}
				fmt.Fprintf(d.err, "broker %d serves after %s\n", n.ID, time.Since(began).Round(time.Millisecond))
				return nil
			})
		},
	}
}

func (d *devCluster) stopCommand() *cobra.Command {
	purge := false
	cmd := &cobra.Command{
		Use: "stop", Short: "Stop all brokers", Args: cobra.NoArgs,
		Example: "  broker dev stop\n  broker dev stop --purge",
		RunE:    func(*cobra.Command, []string) error { return d.stop(purge) },
	}
	cmd.Flags().BoolVar(&purge, "purge", false, "remove the data, too")
	return cmd
}

func (d *devCluster) statusCommand() *cobra.Command {
	var o output
	cmd := &cobra.Command{
		Use: "status", Short: "Show the brokers and their addresses", Args: cobra.NoArgs,
		Example: "  broker dev status",
		RunE: func(*cobra.Command, []string) error {
			if err := errors.Join(o.check(), d.read()); err != nil {
				return err
			}
			a := answer{kind: "DevCluster", items: d.ctl.Nodes}
			table := section{header: []string{"NODE", "STATE", "PID", "KAFKA", "RAFT", "HTTP"}}
			for _, n := range d.ctl.Nodes {
				state, pid := "stopped", ""
				if n.Running() {
					state, pid = "running", strconv.Itoa(n.PID)
				}
				a.names = append(a.names, strconv.Itoa(n.ID))
				table.rows = append(table.rows, []string{strconv.Itoa(n.ID), state, pid, n.Kafka, n.Raft, n.HTTP})
			}
			a.sections = []section{table}
			return o.write(d.out, a)
		},
	}
	o.addFlags(cmd.Flags())
	return cmd
}

// read finds the cluster in its directory.
func (d *devCluster) read() error {
	ctl, err := cli.ReadDevCluster(d.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("there is no development cluster in %s. Start one with: broker dev -n 3", d.dir)
	}
	d.ctl = ctl
	return err //nolint:wrapcheck // says operation and path
}

// each calls f for the brokers named.
func (d *devCluster) each(args []string, f func(*cli.DevNode) error) error {
	if err := d.read(); err != nil {
		return err
	}
	for _, a := range args {
		id, err := strconv.Atoi(a)
		i := slices.IndexFunc(d.ctl.Nodes, func(n cli.DevNode) bool { return n.ID == id })
		if err != nil || i < 0 {
			return usageErrorf("%q: the brokers are 1 to %d", a, len(d.ctl.Nodes))
		}
		if err := f(&d.ctl.Nodes[i]); err != nil {
			return err
		}
	}
	return d.ctl.Write(d.dir) //nolint:wrapcheck // says operation and path
}

// up starts all brokers and waits until they serve.
func (d *devCluster) up(cmd *cobra.Command, nodes, port int) error {
	began := time.Now()
	if nodes < 1 || nodes > 5 {
		return usageErrorf("-n %d: want 1 to 5 brokers", nodes)
	}
	ctl, err := cli.ReadDevCluster(d.dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if d.ctl, err = plan(nodes, port); err != nil {
			return err
		}
	case err != nil:
		return err //nolint:wrapcheck // says operation and path
	case ctl.Running() > 0:
		return fmt.Errorf("the cluster in %s runs already (%d of %d brokers). Stop it with: broker dev stop", d.dir, ctl.Running(), len(ctl.Nodes))
	case cmd.Flags().Changed("nodes") && nodes != len(ctl.Nodes) || cmd.Flags().Changed("port") && ctl.Nodes[0].Kafka != local(port):
		return fmt.Errorf("%s keeps a cluster of %d brokers from %s on. Remove it with: broker dev stop --purge", d.dir, len(ctl.Nodes), ctl.Nodes[0].Kafka)
	default:
		d.ctl = ctl
	}
	for _, n := range d.ctl.Nodes {
		for _, a := range []string{n.Kafka, n.Raft} {
			if err := checkFree(a, fmt.Sprintf("run `broker dev -n %d --port %d`", nodes, port+10000)); err != nil {
				return err
			}
		}
	}
	if err := d.startAll(cmd.Context()); err != nil {
		return errors.Join(err, d.endAll(os.Kill), d.ctl.Write(d.dir))
	}
	d.banner(time.Since(began))
	return nil
}

func (d *devCluster) startAll(ctx context.Context) error {
	if err := os.MkdirAll(d.dir, 0o750); err != nil {
		return err //nolint:wrapcheck // says operation and path
	}
	for i := range d.ctl.Nodes {
		if err := d.launch(&d.ctl.Nodes[i]); err != nil {
			return err
		}
	}
	if err := d.ctl.Write(d.dir); err != nil {
		return err //nolint:wrapcheck // says operation and path
	}
	for i := range d.ctl.Nodes {
		if err := d.awaitOpen(ctx, &d.ctl.Nodes[i]); err != nil {
			return err
		}
	}
	return d.awaitAll(ctx)
}

func local(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// plan chooses the addresses of a new cluster.
func plan(nodes, port int) (*cli.DevCluster, error) {
	if port < 1 || port+nodes+devRaftDistance > 65535 {
		return nil, usageErrorf("--port %d: want a port with room for %d brokers and their Raft ports above", port, nodes)
	}
	d := &cli.DevCluster{}
	http := devHTTPPort
	for i := range nodes {
		free, _ := freeAddress(local(http))
		if _, p, err := net.SplitHostPort(free); err == nil {
			if n, err := strconv.Atoi(p); err == nil {
				http = n + 1
			}
		}
		d.Nodes = append(d.Nodes, cli.DevNode{ID: i + 1, Kafka: local(port + i), Raft: local(port + i + devRaftDistance), HTTP: free})
	}
	return d, nil
}

func (d *devCluster) banner(took time.Duration) {
	fmt.Fprintln(d.out, d.ctl.Bootstrap())
	var metrics []string
	for _, n := range d.ctl.Nodes {
		metrics = append(metrics, "http://"+n.HTTP+"/metrics")
	}
	fmt.Fprintf(d.err, `stele %s: %d brokers, ready after %s
Kafka    %s
Data     %s
Metrics  %s
Try      broker topic create events -p 6 -r 3   then: broker cluster info
Crash    broker dev kill 2   back: broker dev start 2
Stop     broker dev stop     with the data: broker dev stop --purge
`, thisBuild().Version, len(d.ctl.Nodes), took.Round(time.Millisecond), d.ctl.Bootstrap(), d.dir, strings.Join(metrics, " "))
	if d.dir != cli.DevDir {
		fmt.Fprintf(d.err, "Here     export STELE_BROKERS=%s\n", d.ctl.Bootstrap())
	}
}

func (d *devCluster) logPath(n *cli.DevNode) string {
	return filepath.Join(d.dir, fmt.Sprintf("broker-%d.log", n.ID))
}

func (d *devCluster) dataDir(n *cli.DevNode) string {
	return filepath.Join(d.dir, fmt.Sprintf("broker-%d", n.ID))
}
