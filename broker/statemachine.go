package broker

import (
	"github.com/stelemq/stele/broker/metadata"
	"github.com/stelemq/stele/dledger"
)

// StateMachine returns m as what the metadata group replicates.
func StateMachine(m *metadata.Machine) dledger.MetadataStateMachine { return stateMachine{m} }

type stateMachine struct{ *metadata.Machine }

// Apply implements dledger.MetadataStateMachine.
func (s stateMachine) Apply(index dledger.Index, command []byte) []byte {
	return s.Machine.Apply(uint64(index), command)
}
