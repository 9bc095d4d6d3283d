package protocol

import (
	"unsafe"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// shareShapes are those of requests about share groups and their state.
//
//nolint:gochecknoglobals // constant table
var shareShapes = [...][]field{
	KeyShareGroupHeartbeat: {
		{kind: text},
		{kind: text},
		{size: 4},
		{kind: text},
		{kind: list, mem: unsafe.Sizeof(""), elem: []field{{kind: text}}},
	},
	KeyShareGroupDescribe: {
		{kind: list, mem: unsafe.Sizeof(""), elem: []field{{kind: text}}},
		{size: 1},
	},
	KeyShareFetch: {
		{kind: text},
		{kind: text},
		{size: 4},
		{size: 4},
		{size: 4},
		{size: 4},
		{size: 4, since: 1},
		{size: 4, since: 1},
		{size: 1, since: 2},
		{size: 1, since: 2},
		{kind: array, mem: unsafe.Sizeof(kmsg.ShareFetchRequestTopic{}), elem: []field{
			{size: 16},
			{kind: array, mem: unsafe.Sizeof(kmsg.ShareFetchRequestTopicPartition{}), elem: []field{
				{size: 4},
				{size: 4, gone: 1},
				{kind: array, mem: unsafe.Sizeof(kmsg.ShareFetchRequestTopicPartitionAcknowledgementBatch{}), elem: []field{
					{size: 8},
					{size: 8},
					{kind: list, mem: unsafe.Sizeof(int8(0)), elem: []field{{size: 1}}},
				}},
			}},
		}},
		{kind: array, mem: unsafe.Sizeof(kmsg.ShareFetchRequestForgottenTopicsData{}), elem: []field{
			{size: 16},
			{kind: list, mem: unsafe.Sizeof(int32(0)), elem: []field{{size: 4}}},
		}},
	},
	KeyShareAcknowledge: {
		{kind: text},
		{kind: text},
		{size: 4},
		{size: 1, since: 2},
		{kind: array, mem: unsafe.Sizeof(kmsg.ShareAcknowledgeRequestTopic{}), elem: []field{
			{size: 16},
			{kind: array, mem: unsafe.Sizeof(kmsg.ShareAcknowledgeRequestTopicPartition{}), elem: []field{
				{size: 4},
				{kind: array, mem: unsafe.Sizeof(kmsg.ShareAcknowledgeRequestTopicPartitionAcknowledgementBatch{}), elem: []field{
					{size: 8},
					{size: 8},
					{kind: list, mem: unsafe.Sizeof(int8(0)), elem: []field{{size: 1}}},
				}},
			}},
		}},
	},
	KeyInitializeShareGroupState: {
		{kind: text},
		{kind: array, mem: unsafe.Sizeof(kmsg.InitializeShareGroupStateRequestTopic{}), elem: []field{
			{size: 16},
			{kind: array, mem: unsafe.Sizeof(kmsg.InitializeShareGroupStateRequestTopicPartition{}), elem: []field{
				{size: 4},
				{size: 4},
				{size: 8},
			}},
		}},
	},
	KeyReadShareGroupState: {
		{kind: text},
		{kind: array, mem: unsafe.Sizeof(kmsg.ReadShareGroupStateRequestTopic{}), elem: []field{
			{size: 16},
			{kind: array, mem: unsafe.Sizeof(kmsg.ReadShareGroupStateRequestTopicPartition{}), elem: []field{
				{size: 4},
				{size: 4},
			}},
		}},
	},
	KeyWriteShareGroupState: {
		{kind: text},
		{kind: array, mem: unsafe.Sizeof(kmsg.WriteShareGroupStateRequestTopic{}), elem: []field{
			{size: 16},
			{kind: array, mem: unsafe.Sizeof(kmsg.WriteShareGroupStateRequestTopicPartition{}), elem: []field{
				{size: 4},
				{size: 4},
				{size: 4},
				{size: 8},
				{size: 4, since: 1},
				{kind: array, mem: unsafe.Sizeof(kmsg.WriteShareGroupStateRequestTopicPartitionStateBatch{}), elem: []field{
					{size: 8},
					{size: 8},
					{size: 1},
					{size: 2},
				}},
			}},
		}},
	},
	KeyDeleteShareGroupState: {
		{kind: text},
		{kind: array, mem: unsafe.Sizeof(kmsg.DeleteShareGroupStateRequestTopic{}), elem: []field{
			{size: 16},
			{kind: array, mem: unsafe.Sizeof(kmsg.DeleteShareGroupStateRequestTopicPartition{}), elem: []field{
				{size: 4},
			}},
		}},
	},
	KeyReadShareGroupStateSummary: {
		{kind: text},
		{kind: array, mem: unsafe.Sizeof(kmsg.ReadShareGroupStateSummaryRequestTopic{}), elem: []field{
			{size: 16},
			{kind: array, mem: unsafe.Sizeof(kmsg.ReadShareGroupStateSummaryRequestTopicPartition{}), elem: []field{
				{size: 4},
				{size: 4},
			}},
		}},
	},
	KeyDescribeShareGroupOffsets: {
		{kind: array, mem: unsafe.Sizeof(kmsg.DescribeShareGroupOffsetsRequestGroup{}), elem: []field{
			{kind: text},
			{kind: array, mem: unsafe.Sizeof(kmsg.DescribeShareGroupOffsetsRequestGroupTopic{}), elem: []field{
				{kind: text},
				{kind: list, mem: unsafe.Sizeof(int32(0)), elem: []field{{size: 4}}},
			}},
		}},
	},
	KeyAlterShareGroupOffsets: {
		{kind: text},
		{kind: array, mem: unsafe.Sizeof(kmsg.AlterShareGroupOffsetsRequestTopic{}), elem: []field{
			{kind: text},
			{kind: array, mem: unsafe.Sizeof(kmsg.AlterShareGroupOffsetsRequestTopicPartition{}), elem: []field{
				{size: 4},
				{size: 8},
			}},
		}},
	},
	KeyDeleteShareGroupOffsets: {
		{kind: text},
		{kind: array, mem: unsafe.Sizeof(kmsg.DeleteShareGroupOffsetsRequestTopic{}), elem: []field{
			{kind: text},
		}},
	},
}
