package protocol

import (
	"unsafe"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// shapes are the requests' fields in the order in which they stand on the wire, by key. A test compares them with what kmsg
// writes in every version.
//
//nolint:gochecknoglobals // constant table
var shapes = [...][]field{
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
	KeyOffsetCommit: {
		{kind: text},
		{size: 4, since: 1},
		{kind: text, since: 1},
		{kind: text, since: 7},
		{size: 8, since: 2, gone: 5},
		{kind: array, mem: unsafe.Sizeof(kmsg.OffsetCommitRequestTopic{}), elem: []field{
			{kind: text, gone: 10},
			{size: 16, since: 10},
			{kind: array, mem: unsafe.Sizeof(kmsg.OffsetCommitRequestTopicPartition{}), elem: []field{
				{size: 4},
				{size: 8},
				{size: 8, since: 1, gone: 2},
				{size: 4, since: 6},
				{kind: text},
			}},
		}},
	},
	KeyOffsetFetch: {
		{kind: text, gone: 8},
		{kind: array, gone: 8, mem: unsafe.Sizeof(kmsg.OffsetFetchRequestTopic{}), elem: []field{
			{kind: text},
			{kind: list, mem: unsafe.Sizeof(int32(0)), elem: []field{{size: 4}}},
		}},
		{kind: array, since: 8, mem: unsafe.Sizeof(kmsg.OffsetFetchRequestGroup{}), elem: []field{
			{kind: text},
			{kind: text, since: 9},
			{size: 4, since: 9},
			{kind: array, mem: unsafe.Sizeof(kmsg.OffsetFetchRequestGroupTopic{}), elem: []field{
				{kind: text, since: 8, gone: 10},
				{size: 16, since: 10},
				{kind: list, mem: unsafe.Sizeof(int32(0)), elem: []field{{size: 4}}},
			}},
		}},
		{size: 1, since: 7},
	},
	KeyFindCoordinator: {
		{kind: text, gone: 4},
		{size: 1, since: 1},
		{kind: list, since: 4, mem: unsafe.Sizeof(""), elem: []field{{kind: text}}},
	},
	KeyJoinGroup: {
		{kind: text},
		{size: 4},
		{size: 4, since: 1},
		{kind: text},
		{kind: text, since: 5},
		{kind: text},
		{kind: array, mem: unsafe.Sizeof(kmsg.JoinGroupRequestProtocol{}), elem: []field{
			{kind: text},
			{kind: blob},
		}},
		{kind: text, since: 8},
	},
	KeyHeartbeat: {
		{kind: text},
		{size: 4},
		{kind: text},
		{kind: text, since: 3},
	},
	KeyLeaveGroup: {
		{kind: text},
		{kind: text, gone: 3},
		{kind: array, since: 3, mem: unsafe.Sizeof(kmsg.LeaveGroupRequestMember{}), elem: []field{
			{kind: text},
			{kind: text},
			{kind: text, since: 5},
		}},
	},
	KeySyncGroup: {
		{kind: text},
		{size: 4},
		{kind: text},
		{kind: text, since: 3},
		{kind: text, since: 5},
		{kind: text, since: 5},
		{kind: array, mem: unsafe.Sizeof(kmsg.SyncGroupRequestGroupAssignment{}), elem: []field{
			{kind: text},
			{kind: blob},
		}},
	},
	KeyDescribeGroups: {
		{kind: list, mem: unsafe.Sizeof(""), elem: []field{{kind: text}}},
		{size: 1, since: 3},
	},
	KeyListGroups: {
		{kind: list, since: 4, mem: unsafe.Sizeof(""), elem: []field{{kind: text}}},
		{kind: list, since: 5, mem: unsafe.Sizeof(""), elem: []field{{kind: text}}},
	},
	KeySaslHandshake: {
		{kind: text},
	},
	KeyApiVersions: {
		{kind: text, since: 3},
		{kind: text, since: 3},
		{kind: text, since: 5},
		{size: 4, since: 5},
	},
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
	KeyInitProducerId: {
		{kind: text},
		{size: 4},
		{size: 8, since: 3},
		{size: 2, since: 3},
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
	KeyAddPartitionsToTxn: {
		{kind: text, gone: 4},
		{size: 8, gone: 4},
		{size: 2, gone: 4},
		{kind: array, gone: 4, mem: unsafe.Sizeof(kmsg.AddPartitionsToTxnRequestTopic{}), elem: []field{
			{kind: text},
			{kind: list, mem: unsafe.Sizeof(int32(0)), elem: []field{{size: 4}}},
		}},
		{kind: array, since: 4, mem: unsafe.Sizeof(kmsg.AddPartitionsToTxnRequestTransaction{}), elem: []field{
			{kind: text},
			{size: 8},
			{size: 2},
			{size: 1},
			{kind: array, mem: unsafe.Sizeof(kmsg.AddPartitionsToTxnRequestTransactionTopic{}), elem: []field{
				{kind: text},
				{kind: list, mem: unsafe.Sizeof(int32(0)), elem: []field{{size: 4}}},
			}},
		}},
	},
	KeyAddOffsetsToTxn: {
		{kind: text},
		{size: 8},
		{size: 2},
		{kind: text},
	},
	KeyEndTxn: {
		{kind: text},
		{size: 8},
		{size: 2},
		{size: 1},
	},
	KeyWriteTxnMarkers: {
		{kind: array, mem: unsafe.Sizeof(kmsg.WriteTxnMarkersRequestMarker{}), elem: []field{
			{size: 8},
			{size: 2},
			{size: 1},
			{kind: array, mem: unsafe.Sizeof(kmsg.WriteTxnMarkersRequestMarkerTopic{}), elem: []field{
				{kind: text},
				{kind: list, mem: unsafe.Sizeof(int32(0)), elem: []field{{size: 4}}},
			}},
			{size: 4},
			{size: 1, since: 2},
		}},
	},
	KeyTxnOffsetCommit: {
		{kind: text},
		{kind: text},
		{size: 8},
		{size: 2},
		{size: 4, since: 3},
		{kind: text, since: 3},
		{kind: text, since: 3},
		{kind: array, mem: unsafe.Sizeof(kmsg.TxnOffsetCommitRequestTopic{}), elem: []field{
			{kind: text, gone: 6},
			{size: 16, since: 6},
			{kind: array, mem: unsafe.Sizeof(kmsg.TxnOffsetCommitRequestTopicPartition{}), elem: []field{
				{size: 4},
				{size: 8},
				{size: 4, since: 2},
				{kind: text},
			}},
		}},
	},
	KeyDescribeAcls: {
		{size: 1},
		{kind: text},
		{size: 1, since: 1},
		{kind: text},
		{kind: text},
		{size: 1},
		{size: 1},
	},
	KeyCreateAcls: {
		{kind: array, mem: unsafe.Sizeof(kmsg.CreateACLsRequestCreation{}), elem: []field{
			{size: 1},
			{kind: text},
			{size: 1, since: 1},
			{kind: text},
			{kind: text},
			{size: 1},
			{size: 1},
		}},
	},
	KeyDeleteAcls: {
		{kind: array, mem: unsafe.Sizeof(kmsg.DeleteACLsRequestFilter{}), elem: []field{
			{size: 1},
			{kind: text},
			{size: 1, since: 1},
			{kind: text},
			{kind: text},
			{size: 1},
			{size: 1},
		}},
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
	KeySaslAuthenticate: {
		{kind: blob},
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
	KeyCreateDelegationToken: {
		{kind: text, since: 3},
		{kind: text, since: 3},
		{kind: array, mem: unsafe.Sizeof(kmsg.CreateDelegationTokenRequestRenewer{}), elem: []field{
			{kind: text},
			{kind: text},
		}},
		{size: 8},
	},
	KeyRenewDelegationToken: {
		{kind: blob},
		{size: 8},
	},
	KeyExpireDelegationToken: {
		{kind: blob},
		{size: 8},
	},
	KeyDescribeDelegationToken: {
		{kind: array, mem: unsafe.Sizeof(kmsg.DescribeDelegationTokenRequestOwner{}), elem: []field{
			{kind: text},
			{kind: text},
		}},
	},
	KeyDeleteGroups: {
		{kind: list, mem: unsafe.Sizeof(""), elem: []field{{kind: text}}},
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
	KeyOffsetDelete: {
		{kind: text},
		{kind: array, mem: unsafe.Sizeof(kmsg.OffsetDeleteRequestTopic{}), elem: []field{
			{kind: text},
			{kind: array, mem: unsafe.Sizeof(kmsg.OffsetDeleteRequestTopicPartition{}), elem: []field{
				{size: 4},
			}},
		}},
	},
	KeyDescribeClientQuotas: {
		{kind: array, mem: unsafe.Sizeof(kmsg.DescribeClientQuotasRequestComponent{}), elem: []field{
			{kind: text},
			{size: 1},
			{kind: text},
		}},
		{size: 1},
	},
	KeyAlterClientQuotas: {
		{kind: array, mem: unsafe.Sizeof(kmsg.AlterClientQuotasRequestEntry{}), elem: []field{
			{kind: array, mem: unsafe.Sizeof(kmsg.AlterClientQuotasRequestEntryEntity{}), elem: []field{
				{kind: text},
				{kind: text},
			}},
			{kind: array, mem: unsafe.Sizeof(kmsg.AlterClientQuotasRequestEntryOp{}), elem: []field{
				{kind: text},
				{size: 8},
				{size: 1},
			}},
		}},
		{size: 1},
	},
	KeyDescribeUserScramCredentials: {
		{kind: array, mem: unsafe.Sizeof(kmsg.DescribeUserSCRAMCredentialsRequestUser{}), elem: []field{
			{kind: text},
		}},
	},
	KeyAlterUserScramCredentials: {
		{kind: array, mem: unsafe.Sizeof(kmsg.AlterUserSCRAMCredentialsRequestDeletion{}), elem: []field{
			{kind: text},
			{size: 1},
		}},
		{kind: array, mem: unsafe.Sizeof(kmsg.AlterUserSCRAMCredentialsRequestUpsertion{}), elem: []field{
			{kind: text},
			{size: 1},
			{size: 4},
			{kind: blob},
			{kind: blob},
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
	KeyDescribeProducers: {
		{kind: array, mem: unsafe.Sizeof(kmsg.DescribeProducersRequestTopic{}), elem: []field{
			{kind: text},
			{kind: list, mem: unsafe.Sizeof(int32(0)), elem: []field{{size: 4}}},
		}},
	},
	KeyUnregisterBroker: {
		{size: 4},
	},
	KeyDescribeTransactions: {
		{kind: list, mem: unsafe.Sizeof(""), elem: []field{{kind: text}}},
	},
	KeyListTransactions: {
		{kind: list, mem: unsafe.Sizeof(""), elem: []field{{kind: text}}},
		{kind: list, mem: unsafe.Sizeof(int64(0)), elem: []field{{size: 8}}},
		{size: 8, since: 1},
		{kind: text, since: 2},
	},
	KeyConsumerGroupHeartbeat: {
		{kind: text},
		{kind: text},
		{size: 4},
		{kind: text},
		{kind: text},
		{size: 4},
		{kind: list, mem: unsafe.Sizeof(""), elem: []field{{kind: text}}},
		{kind: text, since: 1},
		{kind: text},
		{kind: array, mem: unsafe.Sizeof(kmsg.ConsumerGroupHeartbeatRequestTopic{}), elem: []field{
			{size: 16},
			{kind: list, mem: unsafe.Sizeof(int32(0)), elem: []field{{size: 4}}},
		}},
	},
	KeyConsumerGroupDescribe: {
		{kind: list, mem: unsafe.Sizeof(""), elem: []field{{kind: text}}},
		{size: 1},
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
