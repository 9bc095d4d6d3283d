package broker

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/stelemq/stele/broker/quota"
	"github.com/stelemq/stele/protocol"
)

// Keys of the APIs that are dealt with apart from the table.
const (
	keyProduce     = int16(kmsg.Produce)
	keyFetch       = int16(kmsg.Fetch)
	keyApiVersions = int16(kmsg.ApiVersions) //nolint:revive // Kafka's name
)

var errRequest = errors.New("malformed request")

// handler answers the request in a slot when its turn has come.
type handler func(c *conn, s *slot) error

// api is one API as this broker serves it.
type api struct {
	protocol.API

	key     int16
	name    string
	handle  handler
	metrics apiMetrics
	// hint is the size of a recent response, for which the next buffer is taken.
	hint atomic.Int64
}

// call is one request being answered.
type call struct {
	ctx  context.Context //nolint:containedctx // lives as long as the request
	b    *Broker
	conn *conn
	api  *api
	// version of the request.
	version int16
	slot    *slot
}

// code counts an error that is part of the answer and returns it as the wire has it.
func (k *call) code(c protocol.Code) int16 {
	k.b.metrics.requestError(k.api, c)
	return int16(c)
}

// buildAPIs joins the protocol's table with the handlers; an API without a handler is not served.
func (b *Broker) buildAPIs() {
	handlers := map[int16]handler{
		keyProduce:                             nil, // started by the reader
		keyFetch:                               handleFetch,
		keyApiVersions:                         handleAPIVersions,
		int16(kmsg.Metadata):                   serve((*call).metadata),
		int16(kmsg.ListOffsets):                serve((*call).listOffsets),
		int16(kmsg.CreateTopics):               serve((*call).createTopics),
		int16(kmsg.DeleteTopics):               serve((*call).deleteTopics),
		int16(kmsg.DeleteRecords):              serve((*call).deleteRecords),
		int16(kmsg.CreatePartitions):           serve((*call).createPartitions),
		int16(kmsg.InitProducerID):             serve((*call).initProducerID),
		int16(kmsg.OffsetForLeaderEpoch):       serve((*call).offsetForLeaderEpoch),
		int16(kmsg.DescribeCluster):            serve((*call).describeCluster),
		int16(kmsg.DescribeConfigs):            serve((*call).describeConfigs),
		int16(kmsg.DescribeTopicPartitions):    serve((*call).describeTopicPartitions),
		int16(kmsg.AlterConfigs):               serve((*call).alterConfigs),
		int16(kmsg.IncrementalAlterConfigs):    serve((*call).incrementalAlterConfigs),
		int16(kmsg.ElectLeaders):               serve((*call).electLeaders),
		int16(kmsg.AlterPartitionAssignments):  serve((*call).alterPartitionReassignments),
		int16(kmsg.ListPartitionReassignments): serve((*call).listPartitionReassignments),
		int16(kmsg.UnregisterBroker):           serve((*call).unregisterBroker),
		int16(kmsg.FindCoordinator):            serve((*call).findCoordinator),
		int16(kmsg.JoinGroup):                  serve((*call).joinGroup),
		int16(kmsg.SyncGroup):                  serve((*call).syncGroup),
		int16(kmsg.Heartbeat):                  serve((*call).heartbeat),
		int16(kmsg.LeaveGroup):                 serve((*call).leaveGroup),
		int16(kmsg.OffsetCommit):               serve((*call).offsetCommit),
		int16(kmsg.OffsetFetch):                serve((*call).offsetFetch),
		int16(kmsg.OffsetDelete):               serve((*call).offsetDelete),
		int16(kmsg.DeleteGroups):               serve((*call).deleteGroups),
		int16(kmsg.ListGroups):                 serve((*call).listGroups),
		int16(kmsg.DescribeGroups):             serve((*call).describeGroups),
		int16(kmsg.ConsumerGroupHeartbeat):     serve((*call).consumerGroupHeartbeat),
		int16(kmsg.ConsumerGroupDescribe):      serve((*call).consumerGroupDescribe),
		int16(kmsg.DescribeQuorum):             serve((*call).describeQuorum),
		int16(kmsg.UpdateFeatures):             serve((*call).updateFeatures),
		int16(kmsg.DescribeLogDirs):            serve((*call).describeLogDirs),
		int16(kmsg.DescribeProducers):          serve((*call).describeProducers),
		int16(kmsg.ListConfigResources):        serve((*call).listConfigResources),
		int16(kmsg.DescribeClientQuotas):       serve((*call).describeClientQuotas),
		int16(kmsg.GetTelemetrySubscriptions):  serve((*call).getTelemetrySubscriptions),
		int16(kmsg.PushTelemetry):              serve((*call).pushTelemetry),
		int16(kmsg.AlterClientQuotas):          serve((*call).alterClientQuotas),
	}
	b.apis = map[int16]*api{}
	for _, a := range protocol.APIs() {
		h, ok := handlers[a.Key]
		if !a.Served || !ok {
			continue
		}
		b.apis[a.Key] = &api{API: a, key: a.Key, name: a.Name, handle: h, metrics: b.metrics.api(a.Name)}
	}
}

// parse reads the header of the request in s.req.
func (c *conn) parse(s *slot) error {
	frame := s.req.b
	key, version := int16(binary.BigEndian.Uint16(frame)), int16(binary.BigEndian.Uint16(frame[2:])) //nolint:gosec // signed on the wire
	a := c.b.apis[key]
	if a == nil {
		return fmt.Errorf("%w: API key %d is not served", errRequest, key)
	}
	s.api, s.version = a, version
	s.correlationID = int32(binary.BigEndian.Uint32(frame[4:])) //nolint:gosec // signed on the wire
	if version < a.Min || version > a.Max {
		if key == keyApiVersions {
			return nil // answered with what is supported (KIP-511); the header may be of a kind not known
		}
		return fmt.Errorf("%w: %s version %d is not supported", errRequest, a.Name, version)
	}
	_, body, err := protocol.ParseRequestHeader(frame)
	if err != nil {
		return fmt.Errorf("%w: %w", errRequest, err)
	}
	s.body = body
	return nil
}

// serve makes a handler of a function on decoded requests.
func serve[T any, P interface {
	*T
	kmsg.Request
}](f func(*call, P) kmsg.Response) handler {
	return func(c *conn, s *slot) error {
		req := P(new(T))
		req.SetVersion(s.version)
		if err := protocol.ReadRequest(req, s.body, c.b.opts.Config.MaxRequestBytes); err != nil {
			return fmt.Errorf("%w: %w", errRequest, err)
		}
		k := &call{ctx: c.ctx, b: c.b, conn: c, api: s.api, version: s.version, slot: s}
		began := c.b.now()
		resp := f(k, req)
		if d := c.useTime(s, c.b.now().Sub(began)); d > 0 {
			c.throttle(resp, quota.Request, d)
		}
		return c.respond(s, resp)
	}
}

// respond encodes a response in the request's version into a pooled buffer.
func (c *conn) respond(s *slot, resp kmsg.Response) error {
	resp.SetVersion(s.version)
	return c.respondVersion(s, resp)
}

// respondVersion is respond for a response whose version is set already.
func (c *conn) respondVersion(s *slot, resp kmsg.Response) error {
	buf := c.b.buffers.get(int(s.api.hint.Load()) + hintMargin)
	s.hold(buf)
	b, err := protocol.AppendResponse(buf.b[:0], s.correlationID, resp)
	if err != nil {
		return err //nolint:wrapcheck // ends the connection
	}
	buf.fill(b)
	s.api.hint.Store(int64(len(b)))
	s.push(b)
	return nil
}

// hintMargin is how much larger than the last response a buffer is taken.
const hintMargin = 64
