package broker

import (
	"slices"
	"strconv"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/stelemq/stele/broker/metadata"
	"github.com/stelemq/stele/protocol"
)

// ListConfigResources: v0-v1
//
// Behaviour: the names of what has settings or may have. v0, in Kafka once ListClientMetricsResources, lists subscriptions
// to client metrics alone. Of groups those are listed that have settings of their own.
//
// Version notes: v1 any types, all where none is named; a type that is not known is UNSUPPORTED_VERSION.

func (k *call) listConfigResources(req *kmsg.ListConfigResourcesRequest) kmsg.Response {
	resp := kmsg.NewPtrListConfigResourcesResponse()
	image := k.b.opts.Metadata.Image()
	types := req.ResourceTypes
	if req.Version == 0 {
		types = []int8{int8(kmsg.ConfigResourceTypeClientMetrics)}
	} else if len(types) == 0 {
		for _, t := range configResourceTypes {
			types = append(types, int8(t))
		}
	}
	for _, t := range types {
		if !slices.Contains(configResourceTypes[:], kmsg.ConfigResourceType(t)) {
			resp.ErrorCode = k.code(protocol.UnsupportedVersion)
			return resp
		}
	}
	for _, t := range configResourceTypes {
		if slices.Contains(types, int8(t)) {
			for _, name := range configResourceNames(image, t) {
				resp.ConfigResources = append(resp.ConfigResources, kmsg.ListConfigResourcesResponseConfigResource{Name: name, Type: int8(t)})
			}
		}
	}
	return resp
}

// configResourceTypes are the types of resources that have settings.
//
//nolint:gochecknoglobals // constant table
var configResourceTypes = [...]kmsg.ConfigResourceType{
	kmsg.ConfigResourceTypeTopic, kmsg.ConfigResourceTypeBroker, kmsg.ConfigResourceTypeBrokerLogger,
	kmsg.ConfigResourceTypeClientMetrics, kmsg.ConfigResourceTypeGroupConfig,
}

func configResourceNames(image *metadata.Image, t kmsg.ConfigResourceType) []string {
	switch t {
	case kmsg.ConfigResourceTypeTopic:
		return image.TopicNames()
	case kmsg.ConfigResourceTypeBroker, kmsg.ConfigResourceTypeBrokerLogger:
		var out []string
		for _, br := range image.Brokers() {
			if br.Registered() {
				out = append(out, strconv.Itoa(int(br.Node)))
			}
		}
		return out
	case kmsg.ConfigResourceTypeClientMetrics:
		return image.ConfiguredNames(metadata.ConfigClientMetrics)
	case kmsg.ConfigResourceTypeGroupConfig:
		return image.ConfiguredNames(metadata.ConfigGroup)
	case kmsg.ConfigResourceTypeUnknown:
	}
	return nil
}
