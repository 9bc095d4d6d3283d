package config

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
)

// Peer is one item of cluster.peers.
type Peer struct {
	Node int32
	// Address is host:port, the Raft address.
	Address string
}

// String is the form of cluster.peers.
func (p Peer) String() string { return fmt.Sprintf("%d@%s", p.Node, p.Address) }

// ParsePeer reads id@host:port.
func ParsePeer(text string) (Peer, error) {
	id, address, ok := strings.Cut(text, "@")
	node, err := strconv.ParseInt(id, 10, 32)
	if !ok || err != nil || node < 0 {
		return Peer{}, fmt.Errorf("%q: want id@host:port, as in 1@10.0.0.1:9192", text)
	}
	if err := checkDialable(address); err != nil {
		return Peer{}, err
	}
	return Peer{Node: int32(node), Address: address}, nil
}

// checkDialable refuses what another host cannot connect to.
func checkDialable(address string) error {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("%q: want host:port, as in 10.0.0.1:9192", address)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return fmt.Errorf("%q: the port is a number from 1 to 65535", address)
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		return fmt.Errorf("%q: nobody can dial this address; name the host as the other brokers see it", address)
	}
	return nil
}

// Founders are the items of cluster.peers by node id. The settings have been validated.
func (s *Settings) Founders() []Peer {
	var peers []Peer
	for _, text := range s.Peers {
		if p, err := ParsePeer(text); err == nil {
			peers = append(peers, p)
		}
	}
	slices.SortFunc(peers, func(a, b Peer) int { return int(a.Node) - int(b.Node) })
	return peers
}

// JoinAddresses are the items of cluster.join.
func (s *Settings) JoinAddresses() []string { return splitList(s.Join) }

// cluster checks the addresses of brokers towards each other.
func (v *validator) cluster() {
	v.peers()
	for _, a := range v.s.JoinAddresses() {
		if err := checkDialable(a); err != nil {
			v.fail("cluster.join", "%v", err)
		}
	}
	if a := v.s.ClusterListen; a != "" && a != "auto" {
		if _, port, err := net.SplitHostPort(a); err != nil {
			v.fail("cluster.listen", "%q: want host:port, :port or auto", a)
		} else if _, err := strconv.ParseUint(port, 10, 16); err != nil {
			v.fail("cluster.listen", "%q: the port is a number up to 65535", a)
		}
		for _, l := range v.s.Open() {
			if l.Port != 0 && l.Address() == a {
				v.fail("cluster.listen", "%s is the address of the listener %s; brokers talk to each other on a port of their own", a, l.Name)
			}
		}
	}
	if a := v.s.ClusterAddress; a != "" && a != "auto" {
		if err := checkDialable(a); err != nil {
			v.fail("cluster.advertised.address", "%v", err)
		}
	}
}

func (v *validator) peers() {
	const key = "cluster.peers"
	nodes, addresses := map[int32]bool{}, map[string]bool{}
	for _, text := range v.s.Peers {
		p, err := ParsePeer(text)
		switch {
		case err != nil:
			v.fail(key, "%v", err)
			continue
		case nodes[p.Node]:
			v.fail(key, "node %d is named twice", p.Node)
		case addresses[p.Address]:
			v.fail(key, "%s is the address of two brokers", p.Address)
		}
		nodes[p.Node], addresses[p.Address] = true, true
	}
	if len(nodes) > foundersMax {
		v.fail(key, "%d brokers found the cluster, %d at most: let the others join (cluster.join)", len(nodes), foundersMax)
	}
	if n := len(nodes); n > 0 && n%2 == 0 {
		v.warn(key, "%d brokers survive the loss of no more than %d do; name an odd number and let the others join", n, n-1)
	}
	if id := v.s.NodeID; id >= 0 && len(nodes) > 0 && !nodes[id] && v.s.Join == "" {
		v.fail(key, "node.id is %d, but the brokers here are %s; add this one, or let it join the others (cluster.join)", id, v.s.peerIDs())
	}
}

// foundersMax is the largest number of voters that makes sense for the metadata.
const foundersMax = 5

func (s *Settings) peerIDs() string {
	var ids []string
	for _, p := range s.Founders() {
		ids = append(ids, strconv.Itoa(int(p.Node)))
	}
	return strings.Join(ids, ", ")
}
