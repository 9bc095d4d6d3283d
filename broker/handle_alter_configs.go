package broker

import (
	"github.com/twmb/franz-go/pkg/kmsg"
)

// AlterConfigs: v0-v2
//
// Behaviour: replaces all settings of a topic, of a broker, or of all brokers (an empty name) by those named,
// each resource for itself. Clients should use IncrementalAlterConfigs.
//
// Not implemented: loggers, client metrics and groups are INVALID_REQUEST.

func (k *call) alterConfigs(req *kmsg.AlterConfigsRequest) kmsg.Response {
	resp := kmsg.NewPtrAlterConfigsResponse()
	resources := make([]*configResource, len(req.Resources))
	for i := range req.Resources {
		rr := &req.Resources[i]
		r := &configResource{kind: rr.ResourceType, name: rr.ResourceName, replace: true}
		for _, c := range rr.Configs {
			r.changes = append(r.changes, configChange{c.Name, kmsg.IncrementalAlterConfigOpSet, c.Value})
		}
		resources[i] = r
	}
	k.alterEach(resources, req.ValidateOnly, func(r *configResource, code int16, message *string) {
		out := kmsg.NewAlterConfigsResponseResource()
		out.ResourceType, out.ResourceName, out.ErrorCode, out.ErrorMessage = r.kind, r.name, code, message
		resp.Resources = append(resp.Resources, out)
	})
	return resp
}
