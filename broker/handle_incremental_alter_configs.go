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
	resources := make([]*configResource, len(req.Resources))
	for i := range req.Resources {
		rr := &req.Resources[i]
		r := &configResource{kind: rr.ResourceType, name: rr.ResourceName}
		for _, c := range rr.Configs {
			r.changes = append(r.changes, configChange{c.Name, c.Op, c.Value})
		}
		resources[i] = r
	}
	k.alterEach(resources, req.ValidateOnly, func(r *configResource, code int16, message *string) {
		out := kmsg.NewIncrementalAlterConfigsResponseResource()
		out.ResourceType, out.ResourceName, out.ErrorCode, out.ErrorMessage = r.kind, r.name, code, message
		resp.Resources = append(resp.Resources, out)
	})
	return resp
}
