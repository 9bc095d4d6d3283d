package broker

import (
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/stelemq/stele/broker/metadata"
	"github.com/stelemq/stele/broker/quota"
	"github.com/stelemq/stele/protocol"
)

// mutations counts the partitions that one request creates or deletes (KIP-599).
type mutations struct {
	k *call
	// strict: who owes something is refused; older versions of the requests are carried out and then not read for a while.
	strict bool
	wait   time.Duration
}

// mutations begins to count for a request that is refused from a version on.
func (k *call) mutations(strictFrom int16) *mutations {
	return &mutations{k: k, strict: k.version >= strictFrom}
}

// take counts partitions; it returns why they may not be created or deleted now, nil where they may.
func (m *mutations) take(partitions int) *metadata.Error {
	c := m.k.conn
	wait, ok := c.b.quotas.Mutate(quota.Anonymous, string(m.k.slot.clientID()), partitions, m.strict, c.b.now())
	m.wait = max(m.wait, wait)
	if !ok {
		return configError(protocol.ThrottlingQuotaExceeded, "The throttling quota has been exceeded.")
	}
	return nil
}

// tell has the client wait.
func (m *mutations) tell(resp kmsg.Response) { m.k.conn.throttle(resp, quota.Mutation, m.wait) }
