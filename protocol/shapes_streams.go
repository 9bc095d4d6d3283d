package protocol

import (
	"unsafe"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// streamsShapes are those of requests about groups of Kafka Streams.
//
//nolint:gochecknoglobals // constant table
var streamsShapes = [...][]field{
	KeyStreamsGroupHeartbeat: {
		{kind: text},
		{kind: text},
		{size: 4},
		{size: 4},
		{kind: text},
		{kind: text},
		{size: 4},
		{kind: nullable, mem: unsafe.Sizeof(kmsg.StreamsGroupHeartbeatRequestTopology{}), elem: []field{
			{size: 4},
			{kind: array, mem: unsafe.Sizeof(kmsg.StreamsGroupHeartbeatRequestTopologySubtopology{}), elem: []field{
				{kind: text},
				{kind: list, mem: unsafe.Sizeof(""), elem: []field{{kind: text}}},
				{kind: list, mem: unsafe.Sizeof(""), elem: []field{{kind: text}}},
				{kind: array, mem: unsafe.Sizeof(kmsg.TopicInfo{}), elem: []field{
					{kind: text},
					{size: 4},
					{size: 2},
					{kind: array, mem: unsafe.Sizeof(kmsg.TopicInfoConfig{}), elem: []field{
						{kind: text},
						{kind: text},
					}},
				}},
				{kind: list, mem: unsafe.Sizeof(""), elem: []field{{kind: text}}},
				{kind: array, mem: unsafe.Sizeof(kmsg.TopicInfo{}), elem: []field{
					{kind: text},
					{size: 4},
					{size: 2},
					{kind: array, mem: unsafe.Sizeof(kmsg.TopicInfoConfig{}), elem: []field{
						{kind: text},
						{kind: text},
					}},
				}},
				{kind: array, mem: unsafe.Sizeof(kmsg.StreamsGroupHeartbeatRequestTopologySubtopologyCopartitionGroup{}), elem: []field{
					{kind: list, mem: unsafe.Sizeof(int16(0)), elem: []field{{size: 2}}},
					{kind: list, mem: unsafe.Sizeof(int16(0)), elem: []field{{size: 2}}},
					{kind: list, mem: unsafe.Sizeof(int16(0)), elem: []field{{size: 2}}},
				}},
			}},
		}},
		{kind: array, mem: unsafe.Sizeof(kmsg.TaskIDs{}), elem: []field{
			{kind: text},
			{kind: list, mem: unsafe.Sizeof(int32(0)), elem: []field{{size: 4}}},
		}},
		{kind: array, mem: unsafe.Sizeof(kmsg.TaskIDs{}), elem: []field{
			{kind: text},
			{kind: list, mem: unsafe.Sizeof(int32(0)), elem: []field{{size: 4}}},
		}},
		{kind: array, mem: unsafe.Sizeof(kmsg.TaskIDs{}), elem: []field{
			{kind: text},
			{kind: list, mem: unsafe.Sizeof(int32(0)), elem: []field{{size: 4}}},
		}},
		{kind: text},
		{kind: nullable, mem: unsafe.Sizeof(kmsg.StreamsGroupHeartbeatRequestUserEndpoint{}), elem: []field{
			{kind: text},
			{size: 2},
		}},
		{kind: array, mem: unsafe.Sizeof(kmsg.StreamsGroupHeartbeatRequestClientTag{}), elem: []field{
			{kind: text},
			{kind: text},
		}},
		{kind: array, mem: unsafe.Sizeof(kmsg.TaskOffset{}), elem: []field{
			{kind: text},
			{size: 4},
			{size: 8},
		}},
		{kind: array, mem: unsafe.Sizeof(kmsg.TaskOffset{}), elem: []field{
			{kind: text},
			{size: 4},
			{size: 8},
		}},
		{size: 1},
	},
	KeyStreamsGroupDescribe: {
		{kind: list, mem: unsafe.Sizeof(""), elem: []field{{kind: text}}},
		{size: 1},
		{size: 1, since: 1},
	},
	KeyStreamsGroupTopologyDescriptionUpdate: {
		{kind: text},
		{kind: text},
		{size: 4},
		{kind: group, elem: []field{
			{kind: array, mem: unsafe.Sizeof(kmsg.TopologyDescriptionSubtopology{}), elem: []field{
				{kind: text},
				{kind: array, mem: unsafe.Sizeof(kmsg.TopologyDescriptionNode{}), elem: []field{
					{kind: text},
					{size: 1},
					{kind: list, mem: unsafe.Sizeof(""), elem: []field{{kind: text}}},
					{kind: text},
					{kind: list, mem: unsafe.Sizeof(""), elem: []field{{kind: text}}},
					{kind: list, mem: unsafe.Sizeof(""), elem: []field{{kind: text}}},
				}},
			}},
			{kind: array, mem: unsafe.Sizeof(kmsg.TopologyDescriptionGlobalStore{}), elem: []field{
				{kind: group, elem: []field{
					{kind: text},
					{size: 1},
					{kind: list, mem: unsafe.Sizeof(""), elem: []field{{kind: text}}},
					{kind: text},
					{kind: list, mem: unsafe.Sizeof(""), elem: []field{{kind: text}}},
					{kind: list, mem: unsafe.Sizeof(""), elem: []field{{kind: text}}},
				}},
				{kind: group, elem: []field{
					{kind: text},
					{size: 1},
					{kind: list, mem: unsafe.Sizeof(""), elem: []field{{kind: text}}},
					{kind: text},
					{kind: list, mem: unsafe.Sizeof(""), elem: []field{{kind: text}}},
					{kind: list, mem: unsafe.Sizeof(""), elem: []field{{kind: text}}},
				}},
			}},
		}},
	},
}
