package broker

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/stelemq/stele/broker/metadata"
	"github.com/stelemq/stele/protocol"
)

// AlterConfigs: v0-v2
//
// Behaviour: replaces all settings of a topic, of a broker, or of all brokers (an empty name) by those named,
// each resource for itself. Clients should use IncrementalAlterConfigs.
//
// Not implemented: loggers, client metrics and groups are INVALID_REQUEST.

func (k *call) alterConfigs(req *kmsg.AlterConfigsRequest) kmsg.Response {
	resp := kmsg.NewPtrAlterConfigsResponse()
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
		r := &configResource{kind: rr.ResourceType, name: rr.ResourceName, replace: true}
		for _, c := range rr.Configs {
			r.changes = append(r.changes, configChange{c.Name, kmsg.IncrementalAlterConfigOpSet, c.Value})
		}
		out := kmsg.NewAlterConfigsResponseResource()
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

// duplicateResource refuses a resource that a request names more than once, and has it answered once.
func duplicateResource(times map[resourceKey]int, key resourceKey) *metadata.Error {
	if times[key] < 2 {
		return nil
	}
	times[key] = 0
	return &metadata.Error{Code: protocol.InvalidRequest, Message: "Each resource must appear at most once."}
}
