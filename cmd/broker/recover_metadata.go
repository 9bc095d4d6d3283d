package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/stelemq/stele/broker"
	"github.com/stelemq/stele/broker/bootstrap"
	"github.com/stelemq/stele/broker/metadata"
	"github.com/stelemq/stele/dledger"
	"github.com/stelemq/stele/internal/vfs"
)

// metadataRecovery is `broker cluster recover-metadata`.
type metadataRecovery struct {
	streams
	settings           configFlags
	dryRun, yes, force bool

	node  *node
	group dledger.ShardID
}

func newRecoverMetadata(s streams) *cobra.Command {
	r := &metadataRecovery{streams: s}
	cmd := &cobra.Command{
		Use: "recover-metadata", Short: "Go on when most voters of the metadata are lost for ever", Args: cobra.NoArgs,
		Long: `For a cluster whose metadata has lost the majority of its voters for good: their disks are gone. Clients still produce and
consume, but topics can be neither made nor changed. While the voters may come back, wait for them instead.

Run it with --dry-run on each survivor, stopped for it, and compare: the one whose last entry has the highest term, and of
equal terms the highest index, has the most. Run it there without --dry-run, on that one alone, and start it again. It founds
new metadata with what it has; all other nodes join it when they hear of it, and keep their data. What the survivor does not
have of the last changes is lost. Partitions are not touched; those that have lost their majority, too, are recovered
one by one afterwards. See docs/operations.md.`,
		Example: "  broker cluster recover-metadata -c /etc/broker/broker.yaml --dry-run\n  broker cluster recover-metadata -c /etc/broker/broker.yaml",
		RunE:    func(cmd *cobra.Command, _ []string) error { return r.run(cmd.Context()) },
	}
	r.settings.addFlags(cmd.Flags(), true)
	cmd.Flags().BoolVar(&r.dryRun, "dry-run", false, "only show what this node has")
	cmd.Flags().BoolVar(&r.yes, "yes", false, "do not ask")
	cmd.Flags().BoolVar(&r.force, "force", false, "also on a node that is the only voter, and so has lost nobody")
	return cmd
}

func (r *metadataRecovery) run(ctx context.Context) error {
	c, err := r.settings.load(false)
	if err != nil {
		return err
	}
	dir, err := filepath.Abs(c.LogDirs[0])
	if err != nil {
		return fmt.Errorf("log.dirs: %w", err)
	}
	if _, kept, err := bootstrap.ReadIdentity(dir); err != nil || !kept {
		return errors.Join(err, fmt.Errorf("%s is no broker's data directory: it has no %s", dir, bootstrap.MetaName))
	}
	r.node = &node{config: c, streams: r.streams, dir: dir}
	if err := r.node.openState(); err != nil {
		return err
	}
	err = r.recover(ctx)
	return errors.Join(err, r.node.state.Close())
}

func (r *metadataRecovery) recover(ctx context.Context) error {
	id := r.node.state.Identity()
	if !r.node.state.Member() {
		return fmt.Errorf("%s belongs to no cluster yet", r.node.dir)
	}
	spec := r.node.state.MetadataSpec()
	machine := metadata.NewMachine()
	remains, err := dledger.ReadMetadata(ctx, r.options(machine, spec))
	if err != nil {
		return r.explain(err)
	}
	if err := machine.Err(); err != nil {
		return fmt.Errorf("the metadata was written by a newer program: %w", err)
	}
	r.show(id, machine.Image(), &remains)
	if r.dryRun {
		return nil
	}
	if _, votes := remains.Voters[spec.Replica]; votes && len(remains.Voters) == 1 && !r.force {
		return fmt.Errorf("this node is the only voter and needs nobody else: start it. --force recovers all the same, for metadata that was recovered twice")
	}
	if err := r.confirm(id); err != nil {
		return err
	}
	r.group = dledger.NextMetadataGroup(spec.Group)
	return r.found(ctx, id, machine)
}

func (r *metadataRecovery) options(machine *metadata.Machine, spec dledger.MetadataSpec) dledger.Options {
	return dledger.Options{
		Dir: r.node.dir, NodeID: r.node.state.Identity().NodeID, StateMachine: broker.StateMachine(machine), Metadata: spec,
		Logger: slog.New(slog.DiscardHandler), Fatal: r.fatal,
	}
}

func (r *metadataRecovery) fatal(err error) {
	r.node.logger = slog.New(slog.NewTextHandler(r.err, nil))
	r.node.fatal(err)
}

func (r *metadataRecovery) explain(err error) error {
	if errors.Is(err, vfs.ErrLocked) {
		return r.node.lockedError(filepath.Join(r.node.dir, ".lock"))
	}
	return err
}

// show tells what the directory has; the operator compares it with that of other survivors.
func (r *metadataRecovery) show(id bootstrap.Identity, i *metadata.Image, m *dledger.MetadataRemains) {
	rows := [][2]string{
		{"NODE", fmt.Sprint(id.NodeID)},
		{"CLUSTER", id.ClusterID},
		{"RECOVERED BEFORE", fmt.Sprint(dledger.MetadataRecoveries(dledger.ShardID(id.MetadataGroup)))},
		{"LAST ENTRY", fmt.Sprintf("term %d, index %d", m.Term, m.Last)},
		{"KNOWN COMMITTED", fmt.Sprintf("index %d", m.Committed)},
		{"VOTERS", nodeList(m.Voters)},
		{"OTHER REPLICAS", nodeList(m.Learners)},
		{"BROKERS", fmt.Sprint(len(i.Brokers()))},
		{"TOPICS", fmt.Sprint(i.TopicCount())},
		{"PARTITIONS", fmt.Sprint(i.PartitionCount())},
	}
	for _, row := range rows {
		fmt.Fprintf(r.out, "%-18s %s\n", row[0], row[1])
	}
}

func nodeList(m map[dledger.ReplicaID]int32) string {
	if len(m) == 0 {
		return "none"
	}
	nodes := slices.Sorted(maps.Values(m))
	text := make([]string, len(nodes))
	for i, n := range nodes {
		text[i] = fmt.Sprintf("node %d", n)
	}
	return strings.Join(text, ", ")
}

func (r *metadataRecovery) confirm(id bootstrap.Identity) error {
	if r.yes {
		return nil
	}
	if !isTerminal(r.in) {
		return usageErrorf("recovering the metadata needs --yes where nobody can be asked")
	}
	fmt.Fprintf(r.err, "This gives up the metadata's voters, and all changes that this node does not have. Type the cluster's id %s to go on: ", id.ClusterID)
	line, err := bufio.NewReader(r.in).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) || strings.TrimSpace(line) != id.ClusterID {
		return &codeError{exitFailure, errors.New("nothing was changed")}
	}
	return nil
}

// found begins the new group. Until the directory says that it belongs to it nothing has changed, and the command can be
// repeated.
func (r *metadataRecovery) found(ctx context.Context, id bootstrap.Identity, machine *metadata.Machine) error {
	snapshot, err := machine.Snapshot()
	if err != nil {
		return err //nolint:wrapcheck // says all
	}
	spec := r.node.state.GroupSpec(r.group)
	command, err := metadata.Encode(&metadata.RecoverCluster{Snapshot: snapshot, Node: id.NodeID, Replica: metadata.ReplicaID(spec.Replica)})
	if err != nil {
		return err //nolint:wrapcheck // says all
	}
	raw, err := dledger.FoundMetadata(ctx, r.options(metadata.NewMachine(), spec), command)
	if err != nil {
		return r.explain(err)
	}
	result, err := metadata.DecodeResult(raw)
	switch {
	case err != nil:
		return err //nolint:wrapcheck // says all
	case result.Error != nil:
		return result.Error
	}
	if err := r.node.state.FoundGroup(r.group); err != nil {
		return err //nolint:wrapcheck // says operation and path
	}
	fmt.Fprintf(r.err, "recovered: node %d decides alone now. Next: start it as always; the other nodes join it by themselves, those that run and those that are started later\n", id.NodeID)
	return nil
}
