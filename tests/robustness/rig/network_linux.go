package rig

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
)

// Clients is the place of the tests in the network: cuts name it like a node.
const Clients int32 = 0

// clientsHost is the last part of the address of the bridge, where clients are.
const clientsHost = 254

// nowhere is a hardware address that nobody has.
const nowhere = "02:00:00:00:ff:ff"

// openNetwork makes the bridge in the namespace of the tests.
func openNetwork() error {
	if _, err := home(); err != nil {
		return fmt.Errorf("own namespace: %w", err)
	}
	return ip(
		"link set lo up",
		fmt.Sprintf("link add rig0 address %s type bridge", hardware(Clients)),
		fmt.Sprintf("addr add %s/24 dev rig0", address(Clients)),
		"link set rig0 up",
	)
}

func address(node int32) string {
	if node == Clients {
		node = clientsHost
	}
	return fmt.Sprintf("10.77.0.%d", node)
}

func hardware(node int32) string {
	if node == Clients {
		node = clientsHost
	}
	return fmt.Sprintf("02:00:00:00:00:%02x", node)
}

// network is the bridge with the nodes of one cluster on it.
type network struct {
	home  namespace
	nodes map[int32]namespace

	mu sync.Mutex
	// mu guards:
	cuts  map[[2]int32]bool // from, to
	downs map[int32]bool
}

var errNoNamespaces = errors.New("no namespaces")

// newNetwork connects nodes to the bridge. Errors: errNoNamespaces.
func newNetwork(nodes []int32) (*network, error) {
	if os.Getenv(insideEnv) == "" {
		return nil, errNoNamespaces
	}
	rig, err := home()
	if err != nil {
		return nil, err
	}
	n := &network{home: rig, nodes: map[int32]namespace{}, cuts: map[[2]int32]bool{}, downs: map[int32]bool{}}
	for _, id := range nodes {
		if n.nodes[id], err = newNamespace(); err != nil {
			return nil, err
		}
		err = n.nodes[id].do(func() error {
			return ip("link set lo up",
				fmt.Sprintf("link add eth0 address %s type veth peer name node%d netns %s", hardware(id), id, rig.path()),
				fmt.Sprintf("addr add %s/24 dev eth0", address(id)),
				"link set eth0 up")
		})
		if err != nil {
			return nil, err
		}
		if err := ip(fmt.Sprintf("link set node%d master rig0 up", id)); err != nil {
			return nil, err
		}
	}
	return n, n.apply(append([]int32{Clients}, nodes...))
}

// close removes the nodes from the bridge.
func (n *network) close() {
	for id, ns := range n.nodes {
		_ = ip(fmt.Sprintf("link del node%d", id))
		ns.close()
	}
}

// apply writes the neighbour tables of the hosts.
func (n *network) apply(hosts []int32) error {
	for _, from := range hosts {
		device, do := "eth0", n.nodes[from].do
		if from == Clients {
			device, do = "rig0", func(f func() error) error { return f() }
		}
		var lines []string
		for _, to := range n.all() {
			mac := hardware(to)
			if n.cuts[[2]int32{from, to}] {
				mac = nowhere
			}
			if to != from {
				lines = append(lines, fmt.Sprintf("neigh replace %s lladdr %s dev %s nud permanent", address(to), mac, device))
			}
		}
		if err := do(func() error { return ip(lines...) }); err != nil {
			return err
		}
	}
	return nil
}

func (n *network) all() []int32 {
	ids := []int32{Clients}
	for id := range n.nodes {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

// cut cuts or heals one direction of pairs.
func (n *network) cut(pairs [][2]int32, cut bool) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	var hosts []int32
	for _, p := range pairs {
		if n.cuts[p] != cut {
			n.cuts[p] = cut
			hosts = append(hosts, p[0])
		}
	}
	slices.Sort(hosts)
	return n.apply(slices.Compact(hosts))
}

// heal takes every cut away and every link up.
func (n *network) heal() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	var hosts []int32
	for p, cut := range n.cuts {
		if cut {
			hosts = append(hosts, p[0])
		}
	}
	clear(n.cuts)
	slices.Sort(hosts)
	err := n.apply(slices.Compact(hosts))
	for id, down := range n.downs {
		if down {
			err = errors.Join(err, ip(fmt.Sprintf("link set node%d up", id)))
		}
	}
	clear(n.downs)
	return err
}

// link takes the link of a node up or down. The node sees that its carrier is lost.
func (n *network) link(id int32, up bool) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.downs[id] = !up
	state := "down"
	if up {
		state = "up"
	}
	return ip(fmt.Sprintf("link set node%d %s", id, state))
}
