package main

import (
	"context"

	"github.com/stelemq/stele/broker"
	"github.com/stelemq/stele/dledger"
)

// host is a dledger.Host as the broker sees it.
type host struct{ *dledger.Host }

var _ broker.Host = host{}

// StartPartition starts a replica.
func (h host) StartPartition(ctx context.Context, spec dledger.PartitionSpec) (broker.PartitionLog, error) {
	p, err := h.Host.StartPartition(ctx, spec)
	if err != nil {
		return nil, err //nolint:wrapcheck // one thing under two names
	}
	return p, nil
}
