package metadata

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/stelemq/stele/protocol"
)

// Types of the parts of a [QuotaEntity], Kafka's names.
const (
	QuotaUser     = "user"
	QuotaClientID = "client-id"
	QuotaIP       = "ip"
)

// QuotaEntity is whom a quota is for: a user, a client id, both, or an address; a null name stands for all that have no
// quota of their own.
type QuotaEntity map[string]*string

// key is the same for equal entities.
func (e QuotaEntity) key() string {
	var b strings.Builder
	for _, kind := range slices.Sorted(maps.Keys(e)) {
		if name := e[kind]; name != nil {
			fmt.Fprintf(&b, "%s=%q,", kind, *name)
		} else {
			fmt.Fprintf(&b, "%s=,", kind)
		}
	}
	return b.String()
}

// Quota is what an entity may do, by Kafka's names: producer_byte_rate and so on.
type Quota struct {
	Entity QuotaEntity        `json:"entity"`
	Values map[string]float64 `json:"values"`
}

// QuotaChange changes what one entity may do; a null value removes one.
type QuotaChange struct {
	Entity QuotaEntity         `json:"entity"`
	Set    map[string]*float64 `json:"set"`
}

// SetQuotas changes quotas, all or, where an entity is not valid, none.
type SetQuotas struct {
	Changes []QuotaChange `json:"changes"`
}

func (*SetQuotas) kind() string { return kindSetQuotas }

// Quotas returns all quotas, in an order that depends on them alone.
func (i *Image) Quotas() []Quota {
	out := slices.Collect(maps.Values(i.quotas))
	slices.SortFunc(out, func(a, b Quota) int { return cmp.Compare(a.Entity.key(), b.Entity.key()) })
	return out
}

// Quota returns the values of one entity, nil where it has none.
func (i *Image) Quota(e QuotaEntity) map[string]float64 { return i.quotas[e.key()].Values }

func (i *Image) putQuota(q Quota) {
	i.quotas = maps.Clone(i.quotas)
	if i.quotas == nil {
		i.quotas = map[string]Quota{}
	}
	if len(q.Values) == 0 {
		delete(i.quotas, q.Entity.key())
		return
	}
	i.quotas[q.Entity.key()] = q
}

func (i *Image) setQuotas(c *SetQuotas) Result {
	for _, change := range c.Changes {
		if len(change.Entity) == 0 {
			return refuse(protocol.InvalidRequest, "a quota needs an entity")
		}
	}
	for _, change := range c.Changes {
		values := maps.Clone(i.Quota(change.Entity))
		if values == nil {
			values = map[string]float64{}
		}
		for name, value := range change.Set {
			if value == nil {
				delete(values, name)
			} else {
				values[name] = *value
			}
		}
		i.putQuota(Quota{Entity: change.Entity, Values: values})
	}
	return Result{}
}
