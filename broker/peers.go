package broker

import (
	"github.com/stelemq/stele/broker/metadata"
)

// followAddresses tells the transport where the other brokers are by the metadata, but for those whose
// address the operator has set.
func (b *Broker) followAddresses(image *metadata.Image) {
	t := b.opts.Transport
	for _, br := range image.Brokers() {
		if _, pinned := b.opts.Peers[br.Node]; pinned || br.Node == b.opts.NodeID || br.RaftAddress == "" {
			continue
		}
		if have, ok := t.Address(br.Node); !ok || have != br.RaftAddress {
			t.SetAddress(br.Node, br.RaftAddress)
		}
	}
}
