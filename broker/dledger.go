package broker

import (
	"context"

	"github.com/stelemq/stele/dledger"
)

// DLedger returns h as the Host of a broker.
func DLedger(h *dledger.Host) Host { return dledgerHost{h} }

type dledgerHost struct{ *dledger.Host }

// StartPartition implements Host.
func (h dledgerHost) StartPartition(ctx context.Context, spec dledger.PartitionSpec) (PartitionLog, error) {
	p, err := h.Host.StartPartition(ctx, spec)
	if err != nil {
		return nil, err //nolint:wrapcheck // the adapter adds nothing
	}
	return p, nil
}
