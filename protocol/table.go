package protocol

// Keys of the APIs, by Kafka's names.
const (
	KeyProduce                               int16 = 0
	KeyFetch                                 int16 = 1
	KeyListOffsets                           int16 = 2
	KeyMetadata                              int16 = 3
	KeyOffsetCommit                          int16 = 8
	KeyOffsetFetch                           int16 = 9
	KeyFindCoordinator                       int16 = 10
	KeyJoinGroup                             int16 = 11
	KeyHeartbeat                             int16 = 12
	KeyLeaveGroup                            int16 = 13
	KeySyncGroup                             int16 = 14
	KeyDescribeGroups                        int16 = 15
	KeyListGroups                            int16 = 16
	KeySaslHandshake                         int16 = 17
	KeyApiVersions                           int16 = 18
	KeyCreateTopics                          int16 = 19
	KeyDeleteTopics                          int16 = 20
	KeyDeleteRecords                         int16 = 21
	KeyInitProducerId                        int16 = 22
	KeyOffsetForLeaderEpoch                  int16 = 23
	KeyAddPartitionsToTxn                    int16 = 24
	KeyAddOffsetsToTxn                       int16 = 25
	KeyEndTxn                                int16 = 26
	KeyWriteTxnMarkers                       int16 = 27
	KeyTxnOffsetCommit                       int16 = 28
	KeyDescribeAcls                          int16 = 29
	KeyCreateAcls                            int16 = 30
	KeyDeleteAcls                            int16 = 31
	KeyDescribeConfigs                       int16 = 32
	KeyAlterConfigs                          int16 = 33
	KeyAlterReplicaLogDirs                   int16 = 34
	KeyDescribeLogDirs                       int16 = 35
	KeySaslAuthenticate                      int16 = 36
	KeyCreatePartitions                      int16 = 37
	KeyCreateDelegationToken                 int16 = 38
	KeyRenewDelegationToken                  int16 = 39
	KeyExpireDelegationToken                 int16 = 40
	KeyDescribeDelegationToken               int16 = 41
	KeyDeleteGroups                          int16 = 42
	KeyElectLeaders                          int16 = 43
	KeyIncrementalAlterConfigs               int16 = 44
	KeyAlterPartitionReassignments           int16 = 45
	KeyListPartitionReassignments            int16 = 46
	KeyOffsetDelete                          int16 = 47
	KeyDescribeClientQuotas                  int16 = 48
	KeyAlterClientQuotas                     int16 = 49
	KeyDescribeUserScramCredentials          int16 = 50
	KeyAlterUserScramCredentials             int16 = 51
	KeyDescribeQuorum                        int16 = 55
	KeyUpdateFeatures                        int16 = 57
	KeyDescribeCluster                       int16 = 60
	KeyDescribeProducers                     int16 = 61
	KeyUnregisterBroker                      int16 = 64
	KeyDescribeTransactions                  int16 = 65
	KeyListTransactions                      int16 = 66
	KeyConsumerGroupHeartbeat                int16 = 68
	KeyConsumerGroupDescribe                 int16 = 69
	KeyGetTelemetrySubscriptions             int16 = 71
	KeyPushTelemetry                         int16 = 72
	KeyListConfigResources                   int16 = 74
	KeyDescribeTopicPartitions               int16 = 75
	KeyShareGroupHeartbeat                   int16 = 76
	KeyShareGroupDescribe                    int16 = 77
	KeyShareFetch                            int16 = 78
	KeyShareAcknowledge                      int16 = 79
	KeyAddRaftVoter                          int16 = 80
	KeyRemoveRaftVoter                       int16 = 81
	KeyInitializeShareGroupState             int16 = 83
	KeyReadShareGroupState                   int16 = 84
	KeyWriteShareGroupState                  int16 = 85
	KeyDeleteShareGroupState                 int16 = 86
	KeyReadShareGroupStateSummary            int16 = 87
	KeyStreamsGroupHeartbeat                 int16 = 88
	KeyStreamsGroupDescribe                  int16 = 89
	KeyDescribeShareGroupOffsets             int16 = 90
	KeyAlterShareGroupOffsets                int16 = 91
	KeyDeleteShareGroupOffsets               int16 = 92
	KeyStreamsGroupTopologyDescriptionUpdate int16 = 93
)

// How the rows of the table say whether an API is served.
const (
	later  = false
	served = true
)

// apiTable is the one source of what this broker speaks: ApiVersions, the dispatcher and docs/kafka-compat.md are made
// from it. Ascending by key. To serve another API is to say so here; its handler must exist.
//
// Versions are Kafka 4.4's, and older ones that Kafka has dropped but clients in use still look for: Produce from 0, so that
// librdkafka up to 2.11 compresses; CreateTopics and DeleteTopics from 0 for kafka-go and admin tools. kmsg knows them all.
//
//nolint:gochecknoglobals // constant table
var apiTable = [...]API{
	// key, name, min, max, served from, flexible from, served
	{KeyProduce, "Produce", 0, 13, 3, 9, served},
	{KeyFetch, "Fetch", 4, 18, 4, 12, served},
	{KeyListOffsets, "ListOffsets", 0, 11, 0, 6, served},
	{KeyMetadata, "Metadata", 0, 13, 0, 9, served},
	{KeyOffsetCommit, "OffsetCommit", 0, 10, 0, 8, served},
	{KeyOffsetFetch, "OffsetFetch", 0, 10, 0, 6, served},
	{KeyFindCoordinator, "FindCoordinator", 0, 6, 0, 3, served},
	{KeyJoinGroup, "JoinGroup", 0, 9, 0, 6, served},
	{KeyHeartbeat, "Heartbeat", 0, 4, 0, 4, served},
	{KeyLeaveGroup, "LeaveGroup", 0, 5, 0, 4, served},
	{KeySyncGroup, "SyncGroup", 0, 5, 0, 4, served},
	{KeyDescribeGroups, "DescribeGroups", 0, 6, 0, 5, served},
	{KeyListGroups, "ListGroups", 0, 5, 0, 3, served},
	{KeySaslHandshake, "SaslHandshake", 0, 1, 0, never, later},
	{KeyApiVersions, "ApiVersions", 0, 5, 0, 3, served},
	{KeyCreateTopics, "CreateTopics", 0, 7, 0, 5, served},
	{KeyDeleteTopics, "DeleteTopics", 0, 6, 0, 4, served},
	{KeyDeleteRecords, "DeleteRecords", 0, 2, 0, 2, served},
	{KeyInitProducerId, "InitProducerId", 0, 5, 0, 2, served},
	{KeyOffsetForLeaderEpoch, "OffsetForLeaderEpoch", 0, 4, 0, 4, served},
	{KeyAddPartitionsToTxn, "AddPartitionsToTxn", 0, 5, 0, 3, later},
	{KeyAddOffsetsToTxn, "AddOffsetsToTxn", 0, 4, 0, 3, later},
	{KeyEndTxn, "EndTxn", 0, 5, 0, 3, later},
	{KeyWriteTxnMarkers, "WriteTxnMarkers", 1, 2, 1, 1, later},
	{KeyTxnOffsetCommit, "TxnOffsetCommit", 0, 6, 0, 3, later},
	{KeyDescribeAcls, "DescribeAcls", 0, 3, 0, 2, later},
	{KeyCreateAcls, "CreateAcls", 0, 3, 0, 2, later},
	{KeyDeleteAcls, "DeleteAcls", 0, 3, 0, 2, later},
	{KeyDescribeConfigs, "DescribeConfigs", 0, 4, 0, 4, served},
	{KeyAlterConfigs, "AlterConfigs", 0, 2, 0, 2, served},
	{KeyAlterReplicaLogDirs, "AlterReplicaLogDirs", 1, 2, 1, 2, later},
	{KeyDescribeLogDirs, "DescribeLogDirs", 0, 5, 0, 2, served},
	{KeySaslAuthenticate, "SaslAuthenticate", 0, 2, 0, 2, later},
	{KeyCreatePartitions, "CreatePartitions", 0, 3, 0, 2, served},
	{KeyCreateDelegationToken, "CreateDelegationToken", 1, 3, 1, 2, later},
	{KeyRenewDelegationToken, "RenewDelegationToken", 1, 2, 1, 2, later},
	{KeyExpireDelegationToken, "ExpireDelegationToken", 1, 2, 1, 2, later},
	{KeyDescribeDelegationToken, "DescribeDelegationToken", 1, 3, 1, 2, later},
	{KeyDeleteGroups, "DeleteGroups", 0, 3, 0, 2, served},
	{KeyElectLeaders, "ElectLeaders", 0, 2, 0, 2, served},
	{KeyIncrementalAlterConfigs, "IncrementalAlterConfigs", 0, 1, 0, 1, served},
	{KeyAlterPartitionReassignments, "AlterPartitionReassignments", 0, 1, 0, 0, served},
	{KeyListPartitionReassignments, "ListPartitionReassignments", 0, 0, 0, 0, served},
	{KeyOffsetDelete, "OffsetDelete", 0, 0, 0, never, served},
	{KeyDescribeClientQuotas, "DescribeClientQuotas", 0, 1, 0, 1, served},
	{KeyAlterClientQuotas, "AlterClientQuotas", 0, 1, 0, 1, served},
	{KeyDescribeUserScramCredentials, "DescribeUserScramCredentials", 0, 0, 0, 0, later},
	{KeyAlterUserScramCredentials, "AlterUserScramCredentials", 0, 0, 0, 0, later},
	{KeyDescribeQuorum, "DescribeQuorum", 0, 2, 0, 0, served},
	{KeyUpdateFeatures, "UpdateFeatures", 0, 2, 0, 0, served},
	{KeyDescribeCluster, "DescribeCluster", 0, 2, 0, 0, served},
	{KeyDescribeProducers, "DescribeProducers", 0, 0, 0, 0, served},
	{KeyUnregisterBroker, "UnregisterBroker", 0, 0, 0, 0, served},
	{KeyDescribeTransactions, "DescribeTransactions", 0, 0, 0, 0, later},
	{KeyListTransactions, "ListTransactions", 0, 2, 0, 0, later},
	{KeyConsumerGroupHeartbeat, "ConsumerGroupHeartbeat", 0, 1, 0, 0, served},
	{KeyConsumerGroupDescribe, "ConsumerGroupDescribe", 0, 1, 0, 0, served},
	{KeyGetTelemetrySubscriptions, "GetTelemetrySubscriptions", 0, 0, 0, 0, served},
	{KeyPushTelemetry, "PushTelemetry", 0, 0, 0, 0, served},
	{KeyListConfigResources, "ListConfigResources", 0, 1, 0, 0, served},
	{KeyDescribeTopicPartitions, "DescribeTopicPartitions", 0, 0, 0, 0, served},
	{KeyShareGroupHeartbeat, "ShareGroupHeartbeat", 1, 1, 1, 0, later},
	{KeyShareGroupDescribe, "ShareGroupDescribe", 1, 1, 1, 0, later},
	{KeyShareFetch, "ShareFetch", 1, 2, 1, 0, later},
	{KeyShareAcknowledge, "ShareAcknowledge", 1, 2, 1, 0, later},
	{KeyAddRaftVoter, "AddRaftVoter", 0, 1, 0, 0, later},
	{KeyRemoveRaftVoter, "RemoveRaftVoter", 0, 0, 0, 0, later},
	{KeyInitializeShareGroupState, "InitializeShareGroupState", 0, 0, 0, 0, later},
	{KeyReadShareGroupState, "ReadShareGroupState", 0, 0, 0, 0, later},
	{KeyWriteShareGroupState, "WriteShareGroupState", 0, 1, 0, 0, later},
	{KeyDeleteShareGroupState, "DeleteShareGroupState", 0, 0, 0, 0, later},
	{KeyReadShareGroupStateSummary, "ReadShareGroupStateSummary", 0, 1, 0, 0, later},
	{KeyStreamsGroupHeartbeat, "StreamsGroupHeartbeat", 0, 1, 0, 0, later},
	{KeyStreamsGroupDescribe, "StreamsGroupDescribe", 0, 1, 0, 0, later},
	{KeyDescribeShareGroupOffsets, "DescribeShareGroupOffsets", 0, 1, 0, 0, later},
	{KeyAlterShareGroupOffsets, "AlterShareGroupOffsets", 0, 0, 0, 0, later},
	{KeyDeleteShareGroupOffsets, "DeleteShareGroupOffsets", 0, 0, 0, 0, later},
	{KeyStreamsGroupTopologyDescriptionUpdate, "StreamsGroupTopologyDescriptionUpdate", 0, 0, 0, 0, later},
}
