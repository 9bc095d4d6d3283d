package broker

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/stelemq/stele/protocol"
)

// DescribeCluster: v0-v2
//
// Behaviour: the brokers by the addresses of the listener that the client came in on.
//
// Version notes: v1 the client says which kind of endpoints it wants, brokers only here; v2 fenced
// brokers if asked for.

const (
	endpointBrokers     = 1
	endpointControllers = 2
)

func (k *call) describeCluster(req *kmsg.DescribeClusterRequest) kmsg.Response {
	resp := kmsg.NewPtrDescribeClusterResponse()
	resp.EndpointType, resp.ControllerID = endpointBrokers, -1
	if req.Version >= 1 && req.EndpointType != endpointBrokers {
		code, text := protocol.UnsupportedEndpointType, fmt.Sprintf("Unsupported endpoint type %d", req.EndpointType)
		if req.EndpointType == endpointControllers {
			code, text = protocol.MismatchedEndpointType, "The request was sent to an endpoint of type BROKER, but we wanted an endpoint of type CONTROLLER"
		}
		resp.ErrorCode, resp.ErrorMessage = k.code(code), &text
		return resp
	}
	image := k.b.opts.Metadata.Image()
	resp.ClusterID = image.ClusterID()
	resp.ControllerID = k.b.controllerID(image)
	for _, br := range image.Brokers() {
		e, ok := br.Endpoint(k.conn.listener.Name)
		if !ok || br.Fenced && !req.IncludeFencedBrokers {
			continue
		}
		out := kmsg.NewDescribeClusterResponseBroker()
		out.NodeID, out.Host, out.Port, out.Rack, out.IsFenced = br.Node, e.Host, e.Port, rackOf(br), br.Fenced
		resp.Brokers = append(resp.Brokers, out)
	}
	if req.IncludeClusterAuthorizedOperations {
		resp.ClusterAuthorizedOperations = clusterOperations
	}
	return resp
}
