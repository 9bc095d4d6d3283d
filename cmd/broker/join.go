package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/stelemq/stele/broker/bootstrap"
	"github.com/stelemq/stele/client"
	"github.com/stelemq/stele/dledger/transport"
	"github.com/stelemq/stele/internal/vfs"
)

// openState reads and locks the data directory.
func (n *node) openState() error {
	c := n.config
	s := bootstrap.Settings{
		NodeID: c.NodeID, ClusterID: c.ClusterID, Join: c.JoinAddresses(),
		NodeOrigin: c.Origins["node.id"].String(), ClusterOrigin: c.Origins["cluster.id"].String(),
	}
	for _, p := range c.Founders() {
		s.Founders = append(s.Founders, bootstrap.Peer{Node: p.Node, Address: p.Address})
	}
	var err error
	n.state, err = bootstrap.Open(n.dir, s)
	if errors.Is(err, vfs.ErrLocked) {
		return n.lockedError(bootstrap.LockFile(n.dir))
	}
	return err //nolint:wrapcheck // says all
}

func (n *node) lockedError(lock string) error {
	return fmt.Errorf("%s is in use by another broker%s. Stop it, or set log.dirs to another directory", n.dir, lockHolder("/proc", lock))
}

// connect opens the Raft address, founds or joins a cluster unless this node has one, and serves.
func (n *node) connect(ctx context.Context) error {
	alone := len(n.config.Founders()) < 2 && len(n.config.JoinAddresses()) == 0 && len(n.state.Addresses()) == 0
	where := n.listening()
	listener, advertised, err := n.state.Bind(ctx, where)
	switch {
	case err == nil:
		n.raftAddress = advertised
	case !alone || n.config.ClusterListen != "auto":
		return fmt.Errorf("%w. Set cluster.listen to an address that is free; it is this broker's address for the others, not for clients", err)
	default:
		fmt.Fprintf(n.err, "no Raft address: %v. This broker serves, but no other can join it until cluster.listen names an address that is free\n", err)
	}
	n.transport = transport.New(transport.Config{NodeID: n.state.Identity().NodeID, Listener: listener, Logger: n.logger})
	err = n.bootstrap(ctx)
	if err == nil {
		err = n.live(ctx)
	}
	return errors.Join(err, n.transport.Close())
}

// listening says where the Raft address is wanted.
func (n *node) listening() bootstrap.Listening {
	w := bootstrap.Listening{Listen: n.config.ClusterListen, Advertise: n.config.ClusterAddress}
	if open := n.config.Open(); len(open) > 0 {
		w.ClientHost, w.ClientPort = open[0].Host, open[0].Port
		if a, ok := n.config.Advertised(open[0].Name); ok {
			w.AdvertisedHost = a.Host
		}
	}
	return w
}

// bootstrap makes this node a member of a cluster.
func (n *node) bootstrap(ctx context.Context) error {
	old := n.state.Member()
	n.transport.SetClusterID(n.state.Identity().ClusterID)
	b := &bootstrap.Bootstrap{
		State: n.state, Transport: n.transport, Address: n.raftAddress, Rack: n.config.Rack, Resolve: raftAddresses, SessionTimeout: n.config.SessionTimeout,
		Say: func(line string) { fmt.Fprintln(n.err, line) },
	}
	n.joiner = b
	if err := b.Run(ctx); err != nil {
		return err //nolint:wrapcheck // says all
	}
	id := n.state.Identity()
	n.transport.SetNodeID(id.NodeID)
	n.transport.SetClusterID(id.ClusterID)
	for node, address := range n.state.Addresses() {
		n.transport.SetAddress(node, address)
	}
	if old {
		m := &bootstrap.Member{State: n.state, Transport: n.transport, Address: n.raftAddress, Logger: n.logger}
		if err := m.CheckOthers(ctx); err != nil {
			return err //nolint:wrapcheck // says all
		}
	}
	if err := n.state.Begin(); err != nil {
		return err //nolint:wrapcheck // says operation and path
	}
	if old {
		return nil
	}
	if len(n.config.JoinAddresses()) > 0 {
		fmt.Fprintf(n.err, "joined cluster %s as node %d. Next: broker topic alter --replicas 3 --all  gives the topics that exist more replicas\n", id.ClusterID, id.NodeID)
	}
	return nil
}

// raftAddresses asks a broker, by its address for clients, where the brokers reach each other.
func raftAddresses(ctx context.Context, address string) ([]string, error) {
	c, err := client.New(client.Options{Bootstrap: []string{address}, ClientID: "broker-join"})
	if err != nil {
		return nil, err //nolint:wrapcheck // says all
	}
	defer c.Close() //nolint:errcheck // nothing is pending
	return c.ControllerEndpoints(ctx)
}
