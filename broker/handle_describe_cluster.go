package broker

import (
	"fmt"
	"net"
	"strconv"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/stelemq/stele/broker/metadata"
	"github.com/stelemq/stele/protocol"
)

// DescribeCluster: v0-v2
//
// Behaviour: the brokers by the addresses of the listener that the client came in on.
//
// Version notes: v1 the client says which kind of endpoints it wants: controllers are the same brokers by
// their Raft addresses, for those who join; v2 fenced brokers if asked for.

const (
	endpointBrokers     = 1
	endpointControllers = 2
)

func (k *call) describeCluster(req *kmsg.DescribeClusterRequest) kmsg.Response {
	resp := kmsg.NewPtrDescribeClusterResponse()
	resp.EndpointType, resp.ControllerID = endpointBrokers, -1
	if req.Version >= 1 && req.EndpointType != endpointBrokers && req.EndpointType != endpointControllers {
		text := fmt.Sprintf("Unsupported endpoint type %d", req.EndpointType)
		resp.ErrorCode, resp.ErrorMessage = k.code(protocol.UnsupportedEndpointType), &text
		return resp
	}
	image := k.b.opts.Metadata.Image()
	resp.ClusterID = image.ClusterID()
	resp.ControllerID = k.b.controllerID(image)
	if req.Version >= 1 && req.EndpointType == endpointControllers {
		resp.EndpointType = endpointControllers
		resp.Brokers = raftEndpoints(image)
		return resp
	}
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

// raftEndpoints are the brokers by the addresses at which they reach each other.
func raftEndpoints(image *metadata.Image) []kmsg.DescribeClusterResponseBroker {
	var out []kmsg.DescribeClusterResponseBroker
	for _, br := range image.Brokers() {
		host, portText, err := net.SplitHostPort(br.RaftAddress)
		port, numErr := strconv.ParseUint(portText, 10, 16)
		if err != nil || numErr != nil || br.Fenced {
			continue
		}
		b := kmsg.NewDescribeClusterResponseBroker()
		b.NodeID, b.Host, b.Port, b.Rack = br.Node, host, int32(port), rackOf(br)
		out = append(out, b)
	}
	return out
}
