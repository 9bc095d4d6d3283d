package broker

import (
	"github.com/twmb/franz-go/pkg/kmsg"
)

// IncrementalAlterConfigs: v0-v1
//
// Behaviour: sets and removes single settings of topics, of a broker, or of all brokers (an empty name), each
// resource for itself; lists can be added to and taken from. They hold at once.
//
// Not implemented: loggers, client metrics and groups are INVALID_REQUEST.

func (k *call) incrementalAlterConfigs(req *kmsg.IncrementalAlterConfigsRequest) kmsg.Response {
	resp := kmsg.NewPtrIncrementalAlterConfigsResponse()
	times := map[resourceKey]int{}
	for i := range req.Resources {
		times[resourceKey{req.Resources[i].ResourceType, req.Resources[i].ResourceName}]++
	}
	for i := range req.Resources {
		rr := &req.Resources[i]
		key := resourceKey{rr.ResourceType, rr.ResourceName}
		if times[key] == 0 {
			continue // a duplicate, answered once
		}
		r := &configResource{kind: rr.ResourceType, name: rr.ResourceName}
		for _, c := range rr.Configs {
			r.changes = append(r.changes, configChange{c.Name, c.Op, c.Value})
		}
		out := kmsg.NewIncrementalAlterConfigsResponseResource()
		out.ResourceType, out.ResourceName = rr.ResourceType, rr.ResourceName
		refused := duplicateResource(times, key)
		if refused == nil {
			refused = k.alterConfig(r, req.ValidateOnly)
		}
		if refused != nil {
			out.ErrorCode, out.ErrorMessage = k.code(refused.Code), &refused.Message
		}
		resp.Resources = append(resp.Resources, out)
	}
	return resp
}

// resourceKey tells resources of a request apart.
type resourceKey struct {
	kind kmsg.ConfigResourceType
	name string
}
