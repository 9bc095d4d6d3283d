package protocol

import (
	"unsafe"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// dataShapes are those of requests about records and where they are: writing, reading, offsets, topics as clients see them.
//
//nolint:gochecknoglobals // constant table
var dataShapes = [...][]field{
	KeyProduce: {
		{kind: text, since: 3},
		{size: 2},
		{size: 4},
		{kind: array, mem: unsafe.Sizeof(kmsg.ProduceRequestTopic{}), elem: []field{
			{kind: text, gone: 13},
			{size: 16, since: 13},
			{kind: array, mem: unsafe.Sizeof(kmsg.ProduceRequestTopicPartition{}), elem: []field{
				{size: 4},
				{kind: blob},
			}},
		}},
	},
	KeyFetch: {
		{size: 4, gone: 15},
		{size: 4},
		{size: 4},
		{size: 4, since: 3},
		{size: 1, since: 4},
		{size: 4, since: 7},
		{size: 4, since: 7},
		{kind: array, mem: unsafe.Sizeof(kmsg.FetchRequestTopic{}), elem: []field{
			{kind: text, gone: 13},
			{size: 16, since: 13},
			{kind: array, mem: unsafe.Sizeof(kmsg.FetchRequestTopicPartition{}), elem: []field{
				{size: 4},
				{size: 4, since: 9},
				{size: 8},
				{size: 4, since: 12},
				{size: 8, since: 5},
				{size: 4},
				{size: 16, tagged: true, tag: 0},
				{size: 8, tagged: true, tag: 1},
			}},
		}},
		{kind: array, since: 7, mem: unsafe.Sizeof(kmsg.FetchRequestForgottenTopic{}), elem: []field{
			{kind: text, since: 7, gone: 13},
			{size: 16, since: 13},
			{kind: list, mem: unsafe.Sizeof(int32(0)), elem: []field{{size: 4}}},
		}},
		{kind: text, since: 11},
		{kind: text, tagged: true, tag: 0},
		{kind: group, tagged: true, tag: 1, elem: []field{
			{size: 4},
			{size: 8},
		}},
	},
	KeyListOffsets: {
		{size: 4},
		{size: 1, since: 2},
		{kind: array, mem: unsafe.Sizeof(kmsg.ListOffsetsRequestTopic{}), elem: []field{
			{kind: text},
			{kind: array, mem: unsafe.Sizeof(kmsg.ListOffsetsRequestTopicPartition{}), elem: []field{
				{size: 4},
				{size: 4, since: 4},
				{size: 8},
				{size: 4, gone: 1},
			}},
		}},
		{size: 4, since: 10},
	},
	KeyMetadata: {
		{kind: array, mem: unsafe.Sizeof(kmsg.MetadataRequestTopic{}), elem: []field{
			{size: 16, since: 10},
			{kind: text},
		}},
		{size: 1, since: 4},
		{size: 1, since: 8, gone: 11},
		{size: 1, since: 8},
	},
	KeyApiVersions: {
		{kind: text, since: 3},
		{kind: text, since: 3},
		{kind: text, since: 5},
		{size: 4, since: 5},
	},
	KeyDeleteRecords: {
		{kind: array, mem: unsafe.Sizeof(kmsg.DeleteRecordsRequestTopic{}), elem: []field{
			{kind: text},
			{kind: array, mem: unsafe.Sizeof(kmsg.DeleteRecordsRequestTopicPartition{}), elem: []field{
				{size: 4},
				{size: 8},
			}},
		}},
		{size: 4},
	},
	KeyOffsetForLeaderEpoch: {
		{size: 4, since: 3},
		{kind: array, mem: unsafe.Sizeof(kmsg.OffsetForLeaderEpochRequestTopic{}), elem: []field{
			{kind: text},
			{kind: array, mem: unsafe.Sizeof(kmsg.OffsetForLeaderEpochRequestTopicPartition{}), elem: []field{
				{size: 4},
				{size: 4, since: 2},
				{size: 4},
			}},
		}},
	},
	KeyDescribeProducers: {
		{kind: array, mem: unsafe.Sizeof(kmsg.DescribeProducersRequestTopic{}), elem: []field{
			{kind: text},
			{kind: list, mem: unsafe.Sizeof(int32(0)), elem: []field{{size: 4}}},
		}},
	},
	KeyDescribeTopicPartitions: {
		{kind: array, mem: unsafe.Sizeof(kmsg.DescribeTopicPartitionsRequestTopic{}), elem: []field{
			{kind: text},
		}},
		{size: 4},
		{kind: nullable, mem: unsafe.Sizeof(kmsg.DescribeTopicPartitionsRequestCursor{}), elem: []field{
			{kind: text},
			{size: 4},
		}},
	},
}
