package metadata

// NodeState is what an operator wants of a node.
type NodeState string

// States of a node. They survive its restarts.
const (
	// NodeActive takes whatever is placed on it.
	NodeActive NodeState = ""
	// NodeDraining keeps its replicas but gives its leaderships away and gets no new ones, and new
	// replicas only where there is nobody else.
	NodeDraining NodeState = "draining"
	// NodeDecommissioning gives its replicas away, too, and never gets new ones; when it has none left it
	// is removed.
	NodeDecommissioning NodeState = "decommissioning"
)

// Endpoint is an address that a broker advertises on a listener.
type Endpoint struct {
	Listener string `json:"listener"`
	Host     string `json:"host"`
	Port     int32  `json:"port"`
}

// FirstJoinedReplica is the first metadata replica id given to a node that joins. Founders have smaller
// ones: the i-th of them, from 0, has i+1.
const FirstJoinedReplica ReplicaID = 101

// Broker is a node of the cluster. Immutable.
type Broker struct {
	Node      int32      `json:"node"`
	Rack      string     `json:"rack,omitempty"`
	Endpoints []Endpoint `json:"endpoints"`
	// Incarnation differs for each start of the process.
	Incarnation string `json:"incarnation"`
	// Epoch is the index of the command that registered it last, 0 where it has joined but not yet
	// registered.
	Epoch uint64 `json:"epoch"`
	// Fenced: not known to be alive.
	Fenced bool `json:"fenced,omitempty"`
	// RaftAddress is where other brokers reach it (host:port).
	RaftAddress string `json:"raft_address,omitempty"`
	// DirectoryID names its data directory: another one means another disk.
	DirectoryID string `json:"directory_id,omitempty"`
	// MetadataReplica is its replica of the metadata log, 0 where unknown.
	MetadataReplica ReplicaID `json:"metadata_replica,omitempty"`
	// State is what the operator wants of it.
	State NodeState `json:"state,omitempty"`
}

// Registered reports whether the broker has ever served clients: it may be given replicas.
func (b *Broker) Registered() bool { return len(b.Endpoints) > 0 }

// MayLead reports whether the broker is alive and should take leaderships.
func (b *Broker) MayLead() bool { return !b.Fenced && b.State == NodeActive }

// Endpoint returns the address advertised on a listener, or the first where it has no such listener.
func (b *Broker) Endpoint(listener string) (Endpoint, bool) {
	for _, e := range b.Endpoints {
		if e.Listener == listener {
			return e, true
		}
	}
	if len(b.Endpoints) == 0 {
		return Endpoint{}, false
	}
	return b.Endpoints[0], true
}
