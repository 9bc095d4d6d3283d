package protocol

import (
	"unsafe"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// adminShapes are those of requests about administration: topics, configurations, replicas, the cluster.
//
//nolint:gochecknoglobals // constant table
var adminShapes = [...][]field{
	KeyCreateTopics: {
		{kind: array, mem: unsafe.Sizeof(kmsg.CreateTopicsRequestTopic{}), elem: []field{
			{kind: text},
			{size: 4},
			{size: 2},
			{kind: array, mem: unsafe.Sizeof(kmsg.CreateTopicsRequestTopicReplicaAssignment{}), elem: []field{
				{size: 4},
				{kind: list, mem: unsafe.Sizeof(int32(0)), elem: []field{{size: 4}}},
			}},
			{kind: array, mem: unsafe.Sizeof(kmsg.CreateTopicsRequestTopicConfig{}), elem: []field{
				{kind: text},
				{kind: text},
			}},
		}},
		{size: 4},
		{size: 1, since: 1},
	},
	KeyDeleteTopics: {
		{kind: list, gone: 6, mem: unsafe.Sizeof(""), elem: []field{{kind: text}}},
		{kind: array, since: 6, mem: unsafe.Sizeof(kmsg.DeleteTopicsRequestTopic{}), elem: []field{
			{kind: text},
			{size: 16},
		}},
		{size: 4},
	},
	KeyDescribeConfigs: {
		{kind: array, mem: unsafe.Sizeof(kmsg.DescribeConfigsRequestResource{}), elem: []field{
			{size: 1},
			{kind: text},
			{kind: list, mem: unsafe.Sizeof(""), elem: []field{{kind: text}}},
		}},
		{size: 1, since: 1},
		{size: 1, since: 3},
	},
	KeyAlterConfigs: {
		{kind: array, mem: unsafe.Sizeof(kmsg.AlterConfigsRequestResource{}), elem: []field{
			{size: 1},
			{kind: text},
			{kind: array, mem: unsafe.Sizeof(kmsg.AlterConfigsRequestResourceConfig{}), elem: []field{
				{kind: text},
				{kind: text},
			}},
		}},
		{size: 1},
	},
	KeyAlterReplicaLogDirs: {
		{kind: array, mem: unsafe.Sizeof(kmsg.AlterReplicaLogDirsRequestDir{}), elem: []field{
			{kind: text},
			{kind: array, mem: unsafe.Sizeof(kmsg.AlterReplicaLogDirsRequestDirTopic{}), elem: []field{
				{kind: text},
				{kind: list, mem: unsafe.Sizeof(int32(0)), elem: []field{{size: 4}}},
			}},
		}},
	},
	KeyDescribeLogDirs: {
		{kind: array, mem: unsafe.Sizeof(kmsg.DescribeLogDirsRequestTopic{}), elem: []field{
			{kind: text},
			{kind: list, mem: unsafe.Sizeof(int32(0)), elem: []field{{size: 4}}},
		}},
	},
	KeyCreatePartitions: {
		{kind: array, mem: unsafe.Sizeof(kmsg.CreatePartitionsRequestTopic{}), elem: []field{
			{kind: text},
			{size: 4},
			{kind: array, mem: unsafe.Sizeof(kmsg.CreatePartitionsRequestTopicAssignment{}), elem: []field{
				{kind: list, mem: unsafe.Sizeof(int32(0)), elem: []field{{size: 4}}},
			}},
		}},
		{size: 4},
		{size: 1},
	},
	KeyElectLeaders: {
		{size: 1, since: 1},
		{kind: array, mem: unsafe.Sizeof(kmsg.ElectLeadersRequestTopic{}), elem: []field{
			{kind: text},
			{kind: list, mem: unsafe.Sizeof(int32(0)), elem: []field{{size: 4}}},
		}},
		{size: 4},
	},
	KeyIncrementalAlterConfigs: {
		{kind: array, mem: unsafe.Sizeof(kmsg.IncrementalAlterConfigsRequestResource{}), elem: []field{
			{size: 1},
			{kind: text},
			{kind: array, mem: unsafe.Sizeof(kmsg.IncrementalAlterConfigsRequestResourceConfig{}), elem: []field{
				{kind: text},
				{size: 1},
				{kind: text},
			}},
		}},
		{size: 1},
	},
	KeyAlterPartitionReassignments: {
		{size: 4},
		{size: 1, since: 1},
		{kind: array, mem: unsafe.Sizeof(kmsg.AlterPartitionAssignmentsRequestTopic{}), elem: []field{
			{kind: text},
			{kind: array, mem: unsafe.Sizeof(kmsg.AlterPartitionAssignmentsRequestTopicPartition{}), elem: []field{
				{size: 4},
				{kind: list, mem: unsafe.Sizeof(int32(0)), elem: []field{{size: 4}}},
			}},
		}},
	},
	KeyListPartitionReassignments: {
		{size: 4},
		{kind: array, mem: unsafe.Sizeof(kmsg.ListPartitionReassignmentsRequestTopic{}), elem: []field{
			{kind: text},
			{kind: list, mem: unsafe.Sizeof(int32(0)), elem: []field{{size: 4}}},
		}},
	},
	KeyDescribeQuorum: {
		{kind: array, mem: unsafe.Sizeof(kmsg.DescribeQuorumRequestTopic{}), elem: []field{
			{kind: text},
			{kind: array, mem: unsafe.Sizeof(kmsg.DescribeQuorumRequestTopicPartition{}), elem: []field{
				{size: 4},
			}},
		}},
	},
	KeyUpdateFeatures: {
		{size: 4},
		{kind: array, mem: unsafe.Sizeof(kmsg.UpdateFeaturesRequestFeatureUpdate{}), elem: []field{
			{kind: text},
			{size: 2},
			{size: 1, gone: 1},
			{size: 1, since: 1},
		}},
		{size: 1, since: 1},
	},
	KeyDescribeCluster: {
		{size: 1},
		{size: 1, since: 1},
		{size: 1, since: 2},
	},
	KeyUnregisterBroker: {
		{size: 4},
	},
	KeyGetTelemetrySubscriptions: {
		{size: 16},
	},
	KeyPushTelemetry: {
		{size: 16},
		{size: 4},
		{size: 1},
		{size: 1},
		{kind: blob},
	},
	KeyListConfigResources: {
		{kind: list, since: 1, mem: unsafe.Sizeof(int8(0)), elem: []field{{size: 1}}},
	},
	KeyAddRaftVoter: {
		{kind: text},
		{size: 4},
		{size: 4},
		{size: 16},
		{kind: array, mem: unsafe.Sizeof(kmsg.AddRaftVoterRequestListener{}), elem: []field{
			{kind: text},
			{kind: text},
			{size: 2},
		}},
		{size: 1, since: 1},
	},
	KeyRemoveRaftVoter: {
		{kind: text},
		{size: 4},
		{size: 16},
	},
}
