package broker

import (
	"context"
	"fmt"
	"maps"
	"math"
	"net/netip"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/stelemq/stele/broker/metadata"
	"github.com/stelemq/stele/protocol"
)

// DescribeClientQuotas: v0-v1, AlterClientQuotas: v0-v1
//
// Behaviour: quotas of users, client ids, pairs of both, and addresses; a null name stands for all others. Each entity is
// changed for itself. producer_byte_rate, consumer_byte_rate and request_percentage hold on every broker for what it serves
// itself, as in Kafka; so do controller_mutation_rate, which Kafka's controller counts for the whole cluster, and
// connection_creation_rate.

// Kinds of matches of a filter.
const (
	matchExact   = 0
	matchDefault = 1
	matchAny     = 2
)

func (k *call) describeClientQuotas(req *kmsg.DescribeClientQuotasRequest) kmsg.Response {
	resp := kmsg.NewPtrDescribeClientQuotasResponse()
	if refused := checkQuotaFilter(req.Components); refused != nil {
		resp.ErrorCode, resp.ErrorMessage = k.code(refused.Code), &refused.Message
		return resp
	}
	resp.Entries = []kmsg.DescribeClientQuotasResponseEntry{} // null stands for an error
	for _, q := range k.b.opts.Metadata.Image().Quotas() {
		if !quotaMatches(q.Entity, req.Components, req.Strict) {
			continue
		}
		e := kmsg.NewDescribeClientQuotasResponseEntry()
		for _, kind := range slices.Sorted(maps.Keys(q.Entity)) {
			e.Entity = append(e.Entity, kmsg.DescribeClientQuotasResponseEntryEntity{Type: kind, Name: q.Entity[kind]})
		}
		for _, key := range slices.Sorted(maps.Keys(q.Values)) {
			e.Values = append(e.Values, kmsg.DescribeClientQuotasResponseEntryValue{Key: key, Value: q.Values[key]})
		}
		resp.Entries = append(resp.Entries, e)
	}
	return resp
}

func checkQuotaFilter(components []kmsg.DescribeClientQuotasRequestComponent) *metadata.Error {
	seen := map[string]bool{}
	for i := range components {
		c := &components[i]
		switch {
		case c.EntityType == "":
			return configError(protocol.InvalidRequest, "Unexpected empty filter component entity type")
		case c.EntityType != metadata.QuotaUser && c.EntityType != metadata.QuotaClientID && c.EntityType != metadata.QuotaIP:
			return configError(protocol.UnsupportedVersion, "Custom entity type '%s' not supported", c.EntityType)
		case seen[c.EntityType]:
			return configError(protocol.InvalidRequest, "Duplicate %s filter component entity type", c.EntityType)
		case c.MatchType == matchExact && c.Match == nil:
			return configError(protocol.InvalidRequest, "Request specified EXACT, but match string is null")
		case (c.MatchType == matchDefault || c.MatchType == matchAny) && c.Match != nil:
			return configError(protocol.InvalidRequest, "Request specified a match string, but the match type takes none")
		case c.MatchType < matchExact || c.MatchType > matchAny:
			return configError(protocol.InvalidRequest, "Unknown match type %d", c.MatchType)
		}
		seen[c.EntityType] = true
	}
	if seen[metadata.QuotaIP] && len(seen) > 1 {
		return configError(protocol.InvalidRequest, "Invalid entity filter component combination: IP filter component should not be used with user or clientId filter component.")
	}
	return nil
}

// quotaMatches reports whether an entity has what is asked for, and, if strict, nothing else.
func quotaMatches(e metadata.QuotaEntity, components []kmsg.DescribeClientQuotasRequestComponent, strict bool) bool {
	for i := range components {
		c := &components[i]
		name, ok := e[c.EntityType]
		switch {
		case !ok:
			return false
		case c.MatchType == matchExact && (name == nil || *name != *c.Match):
			return false
		case c.MatchType == matchDefault && name != nil:
			return false
		}
	}
	return !strict || len(e) == len(components)
}

func (k *call) alterClientQuotas(req *kmsg.AlterClientQuotasRequest) kmsg.Response {
	resp := kmsg.NewPtrAlterClientQuotasResponse()
	for i := range req.Entries {
		e := &req.Entries[i]
		out := kmsg.NewAlterClientQuotasResponseEntry()
		for _, part := range e.Entity {
			out.Entity = append(out.Entity, kmsg.AlterClientQuotasResponseEntryEntity(part))
		}
		change, refused := quotaChange(e)
		if refused == nil && !req.ValidateOnly && len(change.Set) > 0 {
			refused = k.setQuota(change)
		}
		if refused != nil {
			out.ErrorCode, out.ErrorMessage = k.code(refused.Code), &refused.Message
		}
		resp.Entries = append(resp.Entries, out)
	}
	return resp
}

func (k *call) setQuota(change metadata.QuotaChange) *metadata.Error {
	ctx, cancel := context.WithTimeout(k.ctx, proposeTimeout)
	defer cancel()
	if _, err := k.b.propose(ctx, &metadata.SetQuotas{Changes: []metadata.QuotaChange{change}}); err != nil {
		code, text := refusal(err)
		return &metadata.Error{Code: code, Message: *text}
	}
	k.b.log.Info("quotas changed", "values", len(change.Set))
	return nil
}

// quotaChange checks one entry of a request.
func quotaChange(e *kmsg.AlterClientQuotasRequestEntry) (metadata.QuotaChange, *metadata.Error) {
	change := metadata.QuotaChange{Entity: metadata.QuotaEntity{}, Set: map[string]*float64{}}
	for _, part := range e.Entity {
		_, twice := change.Entity[part.Type]
		switch {
		case twice:
			return change, configError(protocol.InvalidRequest, "Entity type '%s' cannot appear more than once", part.Type)
		case part.Type != metadata.QuotaUser && part.Type != metadata.QuotaClientID && part.Type != metadata.QuotaIP:
			return change, configError(protocol.InvalidRequest, "Unhandled client quota entity type: %s", part.Type)
		case part.Name != nil && *part.Name == "":
			return change, configError(protocol.InvalidRequest, "Empty %s not supported", part.Type)
		}
		if part.Type == metadata.QuotaIP && part.Name != nil {
			address, err := netip.ParseAddr(*part.Name)
			if err != nil {
				return change, configError(protocol.InvalidRequest, "%s is not a valid IP", *part.Name)
			}
			name := address.Unmap().String() // as connections are compared with it
			part.Name = &name
		}
		change.Entity[part.Type] = part.Name
	}
	_, ip := change.Entity[metadata.QuotaIP]
	if len(change.Entity) == 0 || ip && len(change.Entity) > 1 {
		return change, configError(protocol.InvalidRequest, "Invalid empty client quota entity, or an address together with a user or client id")
	}
	for i := range e.Ops {
		op := &e.Ops[i]
		if _, twice := change.Set[op.Key]; twice {
			return change, configError(protocol.InvalidRequest, "Duplicate quota key %s", op.Key)
		}
		if refused := checkQuota(op, ip); refused != nil {
			return change, refused
		}
		change.Set[op.Key] = nil
		if !op.Remove {
			change.Set[op.Key] = &op.Value
		}
	}
	return change, nil
}

// checkQuota says what is wrong with one value.
func checkQuota(op *kmsg.AlterClientQuotasRequestEntryOp, ip bool) *metadata.Error {
	whole := true
	switch {
	case ip && op.Key == "connection_creation_rate":
	case !ip && (op.Key == "producer_byte_rate" || op.Key == "consumer_byte_rate"):
	case !ip && (op.Key == "request_percentage" || op.Key == "controller_mutation_rate"):
		whole = false
	default:
		return configError(protocol.InvalidRequest, "Invalid configuration key %s", op.Key)
	}
	switch {
	case op.Remove:
		return nil
	case math.IsNaN(op.Value) || op.Value <= 0:
		return configError(protocol.InvalidRequest, "Quota %s must be greater than 0", op.Key)
	case whole && (op.Value != math.Trunc(op.Value) || op.Value > math.MaxInt64):
		return configError(protocol.InvalidRequest, "%s", fmt.Sprintf("Configuration %s must be a Long value", op.Key))
	}
	return nil
}
