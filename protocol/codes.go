package protocol

// Kafka's error codes, as of 4.3, in the order of their numbers.
//
//nolint:errname // Kafka's names
const (
	UnknownServerError                 Code = -1  // UNKNOWN_SERVER_ERROR
	None                               Code = 0   // NONE
	OffsetOutOfRange                   Code = 1   // OFFSET_OUT_OF_RANGE
	CorruptMessage                     Code = 2   // CORRUPT_MESSAGE
	UnknownTopicOrPartition            Code = 3   // UNKNOWN_TOPIC_OR_PARTITION
	InvalidFetchSize                   Code = 4   // INVALID_FETCH_SIZE
	LeaderNotAvailable                 Code = 5   // LEADER_NOT_AVAILABLE
	NotLeaderOrFollower                Code = 6   // NOT_LEADER_OR_FOLLOWER
	RequestTimedOut                    Code = 7   // REQUEST_TIMED_OUT
	BrokerNotAvailable                 Code = 8   // BROKER_NOT_AVAILABLE
	ReplicaNotAvailable                Code = 9   // REPLICA_NOT_AVAILABLE
	MessageTooLarge                    Code = 10  // MESSAGE_TOO_LARGE
	StaleControllerEpoch               Code = 11  // STALE_CONTROLLER_EPOCH
	OffsetMetadataTooLarge             Code = 12  // OFFSET_METADATA_TOO_LARGE
	NetworkException                   Code = 13  // NETWORK_EXCEPTION
	CoordinatorLoadInProgress          Code = 14  // COORDINATOR_LOAD_IN_PROGRESS
	CoordinatorNotAvailable            Code = 15  // COORDINATOR_NOT_AVAILABLE
	NotCoordinator                     Code = 16  // NOT_COORDINATOR
	InvalidTopicException              Code = 17  // INVALID_TOPIC_EXCEPTION
	RecordListTooLarge                 Code = 18  // RECORD_LIST_TOO_LARGE
	NotEnoughReplicas                  Code = 19  // NOT_ENOUGH_REPLICAS
	NotEnoughReplicasAfterAppend       Code = 20  // NOT_ENOUGH_REPLICAS_AFTER_APPEND
	InvalidRequiredAcks                Code = 21  // INVALID_REQUIRED_ACKS
	IllegalGeneration                  Code = 22  // ILLEGAL_GENERATION
	InconsistentGroupProtocol          Code = 23  // INCONSISTENT_GROUP_PROTOCOL
	InvalidGroupID                     Code = 24  // INVALID_GROUP_ID
	UnknownMemberID                    Code = 25  // UNKNOWN_MEMBER_ID
	InvalidSessionTimeout              Code = 26  // INVALID_SESSION_TIMEOUT
	RebalanceInProgress                Code = 27  // REBALANCE_IN_PROGRESS
	InvalidCommitOffsetSize            Code = 28  // INVALID_COMMIT_OFFSET_SIZE
	TopicAuthorizationFailed           Code = 29  // TOPIC_AUTHORIZATION_FAILED
	GroupAuthorizationFailed           Code = 30  // GROUP_AUTHORIZATION_FAILED
	ClusterAuthorizationFailed         Code = 31  // CLUSTER_AUTHORIZATION_FAILED
	InvalidTimestamp                   Code = 32  // INVALID_TIMESTAMP
	UnsupportedSASLMechanism           Code = 33  // UNSUPPORTED_SASL_MECHANISM
	IllegalSASLState                   Code = 34  // ILLEGAL_SASL_STATE
	UnsupportedVersion                 Code = 35  // UNSUPPORTED_VERSION
	TopicAlreadyExists                 Code = 36  // TOPIC_ALREADY_EXISTS
	InvalidPartitions                  Code = 37  // INVALID_PARTITIONS
	InvalidReplicationFactor           Code = 38  // INVALID_REPLICATION_FACTOR
	InvalidReplicaAssignment           Code = 39  // INVALID_REPLICA_ASSIGNMENT
	InvalidConfig                      Code = 40  // INVALID_CONFIG
	NotController                      Code = 41  // NOT_CONTROLLER
	InvalidRequest                     Code = 42  // INVALID_REQUEST
	UnsupportedForMessageFormat        Code = 43  // UNSUPPORTED_FOR_MESSAGE_FORMAT
	PolicyViolation                    Code = 44  // POLICY_VIOLATION
	OutOfOrderSequenceNumber           Code = 45  // OUT_OF_ORDER_SEQUENCE_NUMBER
	DuplicateSequenceNumber            Code = 46  // DUPLICATE_SEQUENCE_NUMBER
	InvalidProducerEpoch               Code = 47  // INVALID_PRODUCER_EPOCH
	InvalidTxnState                    Code = 48  // INVALID_TXN_STATE
	InvalidProducerIDMapping           Code = 49  // INVALID_PRODUCER_ID_MAPPING
	InvalidTransactionTimeout          Code = 50  // INVALID_TRANSACTION_TIMEOUT
	ConcurrentTransactions             Code = 51  // CONCURRENT_TRANSACTIONS
	TransactionCoordinatorFenced       Code = 52  // TRANSACTION_COORDINATOR_FENCED
	TransactionalIDAuthorizationFailed Code = 53  // TRANSACTIONAL_ID_AUTHORIZATION_FAILED
	SecurityDisabled                   Code = 54  // SECURITY_DISABLED
	OperationNotAttempted              Code = 55  // OPERATION_NOT_ATTEMPTED
	KafkaStorageError                  Code = 56  // KAFKA_STORAGE_ERROR
	LogDirNotFound                     Code = 57  // LOG_DIR_NOT_FOUND
	SASLAuthenticationFailed           Code = 58  // SASL_AUTHENTICATION_FAILED
	UnknownProducerID                  Code = 59  // UNKNOWN_PRODUCER_ID
	ReassignmentInProgress             Code = 60  // REASSIGNMENT_IN_PROGRESS
	DelegationTokenAuthDisabled        Code = 61  // DELEGATION_TOKEN_AUTH_DISABLED
	DelegationTokenNotFound            Code = 62  // DELEGATION_TOKEN_NOT_FOUND
	DelegationTokenOwnerMismatch       Code = 63  // DELEGATION_TOKEN_OWNER_MISMATCH
	DelegationTokenRequestNotAllowed   Code = 64  // DELEGATION_TOKEN_REQUEST_NOT_ALLOWED
	DelegationTokenAuthorizationFailed Code = 65  // DELEGATION_TOKEN_AUTHORIZATION_FAILED
	DelegationTokenExpired             Code = 66  // DELEGATION_TOKEN_EXPIRED
	InvalidPrincipalType               Code = 67  // INVALID_PRINCIPAL_TYPE
	NonEmptyGroup                      Code = 68  // NON_EMPTY_GROUP
	GroupIDNotFound                    Code = 69  // GROUP_ID_NOT_FOUND
	FetchSessionIDNotFound             Code = 70  // FETCH_SESSION_ID_NOT_FOUND
	InvalidFetchSessionEpoch           Code = 71  // INVALID_FETCH_SESSION_EPOCH
	ListenerNotFound                   Code = 72  // LISTENER_NOT_FOUND
	TopicDeletionDisabled              Code = 73  // TOPIC_DELETION_DISABLED
	FencedLeaderEpoch                  Code = 74  // FENCED_LEADER_EPOCH
	UnknownLeaderEpoch                 Code = 75  // UNKNOWN_LEADER_EPOCH
	UnsupportedCompressionType         Code = 76  // UNSUPPORTED_COMPRESSION_TYPE
	StaleBrokerEpoch                   Code = 77  // STALE_BROKER_EPOCH
	OffsetNotAvailable                 Code = 78  // OFFSET_NOT_AVAILABLE
	MemberIDRequired                   Code = 79  // MEMBER_ID_REQUIRED
	PreferredLeaderNotAvailable        Code = 80  // PREFERRED_LEADER_NOT_AVAILABLE
	GroupMaxSizeReached                Code = 81  // GROUP_MAX_SIZE_REACHED
	FencedInstanceID                   Code = 82  // FENCED_INSTANCE_ID
	EligibleLeadersNotAvailable        Code = 83  // ELIGIBLE_LEADERS_NOT_AVAILABLE
	ElectionNotNeeded                  Code = 84  // ELECTION_NOT_NEEDED
	NoReassignmentInProgress           Code = 85  // NO_REASSIGNMENT_IN_PROGRESS
	GroupSubscribedToTopic             Code = 86  // GROUP_SUBSCRIBED_TO_TOPIC
	InvalidRecord                      Code = 87  // INVALID_RECORD
	UnstableOffsetCommit               Code = 88  // UNSTABLE_OFFSET_COMMIT
	ThrottlingQuotaExceeded            Code = 89  // THROTTLING_QUOTA_EXCEEDED
	ProducerFenced                     Code = 90  // PRODUCER_FENCED
	ResourceNotFound                   Code = 91  // RESOURCE_NOT_FOUND
	DuplicateResource                  Code = 92  // DUPLICATE_RESOURCE
	UnacceptableCredential             Code = 93  // UNACCEPTABLE_CREDENTIAL
	InconsistentVoterSet               Code = 94  // INCONSISTENT_VOTER_SET
	InvalidUpdateVersion               Code = 95  // INVALID_UPDATE_VERSION
	FeatureUpdateFailed                Code = 96  // FEATURE_UPDATE_FAILED
	PrincipalDeserializationFailure    Code = 97  // PRINCIPAL_DESERIALIZATION_FAILURE
	SnapshotNotFound                   Code = 98  // SNAPSHOT_NOT_FOUND
	PositionOutOfRange                 Code = 99  // POSITION_OUT_OF_RANGE
	UnknownTopicID                     Code = 100 // UNKNOWN_TOPIC_ID
	DuplicateBrokerRegistration        Code = 101 // DUPLICATE_BROKER_REGISTRATION
	BrokerIDNotRegistered              Code = 102 // BROKER_ID_NOT_REGISTERED
	InconsistentTopicID                Code = 103 // INCONSISTENT_TOPIC_ID
	InconsistentClusterID              Code = 104 // INCONSISTENT_CLUSTER_ID
	TransactionalIDNotFound            Code = 105 // TRANSACTIONAL_ID_NOT_FOUND
	FetchSessionTopicIDError           Code = 106 // FETCH_SESSION_TOPIC_ID_ERROR
	IneligibleReplica                  Code = 107 // INELIGIBLE_REPLICA
	NewLeaderElected                   Code = 108 // NEW_LEADER_ELECTED
	OffsetMovedToTieredStorage         Code = 109 // OFFSET_MOVED_TO_TIERED_STORAGE
	FencedMemberEpoch                  Code = 110 // FENCED_MEMBER_EPOCH
	UnreleasedInstanceID               Code = 111 // UNRELEASED_INSTANCE_ID
	UnsupportedAssignor                Code = 112 // UNSUPPORTED_ASSIGNOR
	StaleMemberEpoch                   Code = 113 // STALE_MEMBER_EPOCH
	MismatchedEndpointType             Code = 114 // MISMATCHED_ENDPOINT_TYPE
	UnsupportedEndpointType            Code = 115 // UNSUPPORTED_ENDPOINT_TYPE
	UnknownControllerID                Code = 116 // UNKNOWN_CONTROLLER_ID
	UnknownSubscriptionID              Code = 117 // UNKNOWN_SUBSCRIPTION_ID
	TelemetryTooLarge                  Code = 118 // TELEMETRY_TOO_LARGE
	InvalidRegistration                Code = 119 // INVALID_REGISTRATION
	TransactionAbortable               Code = 120 // TRANSACTION_ABORTABLE
	InvalidRecordState                 Code = 121 // INVALID_RECORD_STATE
	ShareSessionNotFound               Code = 122 // SHARE_SESSION_NOT_FOUND
	InvalidShareSessionEpoch           Code = 123 // INVALID_SHARE_SESSION_EPOCH
	FencedStateEpoch                   Code = 124 // FENCED_STATE_EPOCH
	InvalidVoterKey                    Code = 125 // INVALID_VOTER_KEY
	DuplicateVoter                     Code = 126 // DUPLICATE_VOTER
	VoterNotFound                      Code = 127 // VOTER_NOT_FOUND
	InvalidRegularExpression           Code = 128 // INVALID_REGULAR_EXPRESSION
	RebootstrapRequired                Code = 129 // REBOOTSTRAP_REQUIRED
	StreamsInvalidTopology             Code = 130 // STREAMS_INVALID_TOPOLOGY
	StreamsInvalidTopologyEpoch        Code = 131 // STREAMS_INVALID_TOPOLOGY_EPOCH
	StreamsTopologyFenced              Code = 132 // STREAMS_TOPOLOGY_FENCED
	ShareSessionLimitReached           Code = 133 // SHARE_SESSION_LIMIT_REACHED
)

// codeInfo is what Kafka says of a code.
type codeInfo struct {
	name      string
	retriable bool
	text      string
}

// codeTable holds all codes from UnknownServerError (-1) on: that of code c stands at c+1.
//
//nolint:gochecknoglobals // constant table
var codeTable = [...]codeInfo{
	UnknownServerError + 1:                 {"UNKNOWN_SERVER_ERROR", false, "The server experienced an unexpected error when processing the request"},
	None + 1:                               {"NONE", false, "no error"},
	OffsetOutOfRange + 1:                   {"OFFSET_OUT_OF_RANGE", false, "The requested offset is not within the range of offsets maintained by the server"},
	CorruptMessage + 1:                     {"CORRUPT_MESSAGE", true, "This message has failed its CRC checksum, exceeds the valid size, has a null key for a compacted topic, or is otherwise corrupt"},
	UnknownTopicOrPartition + 1:            {"UNKNOWN_TOPIC_OR_PARTITION", true, "This server does not host this topic-partition"},
	InvalidFetchSize + 1:                   {"INVALID_FETCH_SIZE", false, "The requested fetch size is invalid"},
	LeaderNotAvailable + 1:                 {"LEADER_NOT_AVAILABLE", true, "There is no leader for this topic-partition as we are in the middle of a leadership election"},
	NotLeaderOrFollower + 1:                {"NOT_LEADER_OR_FOLLOWER", true, "For requests intended only for the leader, this error indicates that the broker is not the current leader"},
	RequestTimedOut + 1:                    {"REQUEST_TIMED_OUT", true, "The request timed out"},
	BrokerNotAvailable + 1:                 {"BROKER_NOT_AVAILABLE", false, "The broker is not available"},
	ReplicaNotAvailable + 1:                {"REPLICA_NOT_AVAILABLE", true, "The replica is not available for the requested topic-partition"},
	MessageTooLarge + 1:                    {"MESSAGE_TOO_LARGE", false, "The request included a message larger than the max message size the server will accept"},
	StaleControllerEpoch + 1:               {"STALE_CONTROLLER_EPOCH", false, "The controller moved to another broker"},
	OffsetMetadataTooLarge + 1:             {"OFFSET_METADATA_TOO_LARGE", false, "The metadata field of the offset request was too large"},
	NetworkException + 1:                   {"NETWORK_EXCEPTION", true, "The server disconnected before a response was received"},
	CoordinatorLoadInProgress + 1:          {"COORDINATOR_LOAD_IN_PROGRESS", true, "The coordinator is loading and hence can't process requests"},
	CoordinatorNotAvailable + 1:            {"COORDINATOR_NOT_AVAILABLE", true, "The coordinator is not available"},
	NotCoordinator + 1:                     {"NOT_COORDINATOR", true, "This is not the correct coordinator"},
	InvalidTopicException + 1:              {"INVALID_TOPIC_EXCEPTION", false, "The request attempted to perform an operation on an invalid topic"},
	RecordListTooLarge + 1:                 {"RECORD_LIST_TOO_LARGE", false, "The request included message batch larger than the configured segment size on the server"},
	NotEnoughReplicas + 1:                  {"NOT_ENOUGH_REPLICAS", true, "Messages are rejected since there are fewer in-sync replicas than required"},
	NotEnoughReplicasAfterAppend + 1:       {"NOT_ENOUGH_REPLICAS_AFTER_APPEND", true, "Messages are written to the log, but to fewer in-sync replicas than required"},
	InvalidRequiredAcks + 1:                {"INVALID_REQUIRED_ACKS", false, "Produce request specified an invalid value for required acks"},
	IllegalGeneration + 1:                  {"ILLEGAL_GENERATION", false, "Specified group generation id is not valid"},
	InconsistentGroupProtocol + 1:          {"INCONSISTENT_GROUP_PROTOCOL", false, "The group member's supported protocols are incompatible with those of existing members or first group member tried to join with empty protocol type or empty protocol list"},
	InvalidGroupID + 1:                     {"INVALID_GROUP_ID", false, "The group id is invalid"},
	UnknownMemberID + 1:                    {"UNKNOWN_MEMBER_ID", false, "The coordinator is not aware of this member"},
	InvalidSessionTimeout + 1:              {"INVALID_SESSION_TIMEOUT", false, "The session timeout is not within the range allowed by the broker"},
	RebalanceInProgress + 1:                {"REBALANCE_IN_PROGRESS", false, "The group is rebalancing, so a rejoin is needed"},
	InvalidCommitOffsetSize + 1:            {"INVALID_COMMIT_OFFSET_SIZE", false, "The committing offset data size is not valid"},
	TopicAuthorizationFailed + 1:           {"TOPIC_AUTHORIZATION_FAILED", false, "Topic authorization failed"},
	GroupAuthorizationFailed + 1:           {"GROUP_AUTHORIZATION_FAILED", false, "Group authorization failed"},
	ClusterAuthorizationFailed + 1:         {"CLUSTER_AUTHORIZATION_FAILED", false, "Cluster authorization failed"},
	InvalidTimestamp + 1:                   {"INVALID_TIMESTAMP", false, "The timestamp of the message is out of acceptable range"},
	UnsupportedSASLMechanism + 1:           {"UNSUPPORTED_SASL_MECHANISM", false, "The broker does not support the requested SASL mechanism"},
	IllegalSASLState + 1:                   {"ILLEGAL_SASL_STATE", false, "Request is not valid given the current SASL state"},
	UnsupportedVersion + 1:                 {"UNSUPPORTED_VERSION", false, "The version of API is not supported"},
	TopicAlreadyExists + 1:                 {"TOPIC_ALREADY_EXISTS", false, "Topic with this name already exists"},
	InvalidPartitions + 1:                  {"INVALID_PARTITIONS", false, "Number of partitions is below 1"},
	InvalidReplicationFactor + 1:           {"INVALID_REPLICATION_FACTOR", false, "Replication factor is below 1 or larger than the number of available brokers"},
	InvalidReplicaAssignment + 1:           {"INVALID_REPLICA_ASSIGNMENT", false, "Replica assignment is invalid"},
	InvalidConfig + 1:                      {"INVALID_CONFIG", false, "Configuration is invalid"},
	NotController + 1:                      {"NOT_CONTROLLER", true, "This is not the correct controller for this cluster"},
	InvalidRequest + 1:                     {"INVALID_REQUEST", false, "This most likely occurs because of a request being malformed by the client library or the message was sent to an incompatible broker"},
	UnsupportedForMessageFormat + 1:        {"UNSUPPORTED_FOR_MESSAGE_FORMAT", false, "The message format version on the broker does not support the request"},
	PolicyViolation + 1:                    {"POLICY_VIOLATION", false, "Request parameters do not satisfy the configured policy"},
	OutOfOrderSequenceNumber + 1:           {"OUT_OF_ORDER_SEQUENCE_NUMBER", false, "The broker received an out of order sequence number"},
	DuplicateSequenceNumber + 1:            {"DUPLICATE_SEQUENCE_NUMBER", false, "The broker received a duplicate sequence number"},
	InvalidProducerEpoch + 1:               {"INVALID_PRODUCER_EPOCH", false, "Producer attempted to produce with an old epoch"},
	InvalidTxnState + 1:                    {"INVALID_TXN_STATE", false, "The producer attempted a transactional operation in an invalid state"},
	InvalidProducerIDMapping + 1:           {"INVALID_PRODUCER_ID_MAPPING", false, "The producer attempted to use a producer id which is not currently assigned to its transactional id"},
	InvalidTransactionTimeout + 1:          {"INVALID_TRANSACTION_TIMEOUT", false, "The transaction timeout is larger than the maximum value allowed by the broker"},
	ConcurrentTransactions + 1:             {"CONCURRENT_TRANSACTIONS", true, "The producer attempted to update a transaction while another concurrent operation on the same transaction was ongoing"},
	TransactionCoordinatorFenced + 1:       {"TRANSACTION_COORDINATOR_FENCED", false, "Indicates that the transaction coordinator sending a WriteTxnMarker is no longer the current coordinator for a given producer"},
	TransactionalIDAuthorizationFailed + 1: {"TRANSACTIONAL_ID_AUTHORIZATION_FAILED", false, "Transactional Id authorization failed"},
	SecurityDisabled + 1:                   {"SECURITY_DISABLED", false, "Security features are disabled"},
	OperationNotAttempted + 1:              {"OPERATION_NOT_ATTEMPTED", false, "The broker did not attempt to execute this operation"},
	KafkaStorageError + 1:                  {"KAFKA_STORAGE_ERROR", true, "Disk error when trying to access log file on the disk"},
	LogDirNotFound + 1:                     {"LOG_DIR_NOT_FOUND", false, "The user-specified log directory is not found in the broker config"},
	SASLAuthenticationFailed + 1:           {"SASL_AUTHENTICATION_FAILED", false, "SASL Authentication failed"},
	UnknownProducerID + 1:                  {"UNKNOWN_PRODUCER_ID", false, "This exception is raised by the broker if it could not locate the producer metadata associated with the producerId in question"},
	ReassignmentInProgress + 1:             {"REASSIGNMENT_IN_PROGRESS", false, "A partition reassignment is in progress"},
	DelegationTokenAuthDisabled + 1:        {"DELEGATION_TOKEN_AUTH_DISABLED", false, "Delegation Token feature is not enabled"},
	DelegationTokenNotFound + 1:            {"DELEGATION_TOKEN_NOT_FOUND", false, "Delegation Token is not found on server"},
	DelegationTokenOwnerMismatch + 1:       {"DELEGATION_TOKEN_OWNER_MISMATCH", false, "Specified Principal is not valid Owner/Renewer"},
	DelegationTokenRequestNotAllowed + 1:   {"DELEGATION_TOKEN_REQUEST_NOT_ALLOWED", false, "Delegation Token requests are not allowed on PLAINTEXT/1-way SSL channels and on delegation token authenticated channels"},
	DelegationTokenAuthorizationFailed + 1: {"DELEGATION_TOKEN_AUTHORIZATION_FAILED", false, "Delegation Token authorization failed"},
	DelegationTokenExpired + 1:             {"DELEGATION_TOKEN_EXPIRED", false, "Delegation Token is expired"},
	InvalidPrincipalType + 1:               {"INVALID_PRINCIPAL_TYPE", false, "Supplied principalType is not supported"},
	NonEmptyGroup + 1:                      {"NON_EMPTY_GROUP", false, "The group is not empty"},
	GroupIDNotFound + 1:                    {"GROUP_ID_NOT_FOUND", false, "The group id does not exist"},
	FetchSessionIDNotFound + 1:             {"FETCH_SESSION_ID_NOT_FOUND", true, "The fetch session ID was not found"},
	InvalidFetchSessionEpoch + 1:           {"INVALID_FETCH_SESSION_EPOCH", true, "The fetch session epoch is invalid"},
	ListenerNotFound + 1:                   {"LISTENER_NOT_FOUND", true, "There is no listener on the leader broker that matches the listener on which metadata request was processed"},
	TopicDeletionDisabled + 1:              {"TOPIC_DELETION_DISABLED", false, "Topic deletion is disabled"},
	FencedLeaderEpoch + 1:                  {"FENCED_LEADER_EPOCH", true, "The leader epoch in the request is older than the epoch on the broker"},
	UnknownLeaderEpoch + 1:                 {"UNKNOWN_LEADER_EPOCH", true, "The leader epoch in the request is newer than the epoch on the broker"},
	UnsupportedCompressionType + 1:         {"UNSUPPORTED_COMPRESSION_TYPE", false, "The requesting client does not support the compression type of given partition"},
	StaleBrokerEpoch + 1:                   {"STALE_BROKER_EPOCH", false, "Broker epoch has changed"},
	OffsetNotAvailable + 1:                 {"OFFSET_NOT_AVAILABLE", true, "The leader high watermark has not caught up from a recent leader election so the offsets cannot be guaranteed to be monotonically increasing"},
	MemberIDRequired + 1:                   {"MEMBER_ID_REQUIRED", false, "The group member needs to have a valid member id before actually entering a consumer group"},
	PreferredLeaderNotAvailable + 1:        {"PREFERRED_LEADER_NOT_AVAILABLE", true, "The preferred leader was not available"},
	GroupMaxSizeReached + 1:                {"GROUP_MAX_SIZE_REACHED", false, "The group has reached its maximum size"},
	FencedInstanceID + 1:                   {"FENCED_INSTANCE_ID", false, "The broker rejected this static consumer since another consumer with the same group.instance.id has registered with a different member.id"},
	EligibleLeadersNotAvailable + 1:        {"ELIGIBLE_LEADERS_NOT_AVAILABLE", true, "Eligible topic partition leaders are not available"},
	ElectionNotNeeded + 1:                  {"ELECTION_NOT_NEEDED", true, "Leader election not needed for topic partition"},
	NoReassignmentInProgress + 1:           {"NO_REASSIGNMENT_IN_PROGRESS", false, "No partition reassignment is in progress"},
	GroupSubscribedToTopic + 1:             {"GROUP_SUBSCRIBED_TO_TOPIC", false, "Deleting offsets of a topic is forbidden while the consumer group is actively subscribed to it"},
	InvalidRecord + 1:                      {"INVALID_RECORD", false, "This record has failed the validation on broker and hence will be rejected"},
	UnstableOffsetCommit + 1:               {"UNSTABLE_OFFSET_COMMIT", true, "There are unstable offsets that need to be cleared"},
	ThrottlingQuotaExceeded + 1:            {"THROTTLING_QUOTA_EXCEEDED", true, "The throttling quota has been exceeded"},
	ProducerFenced + 1:                     {"PRODUCER_FENCED", false, "There is a newer producer with the same transactionalId which fences the current one"},
	ResourceNotFound + 1:                   {"RESOURCE_NOT_FOUND", false, "A request illegally referred to a resource that does not exist"},
	DuplicateResource + 1:                  {"DUPLICATE_RESOURCE", false, "A request illegally referred to the same resource twice"},
	UnacceptableCredential + 1:             {"UNACCEPTABLE_CREDENTIAL", false, "Requested credential would not meet criteria for acceptability"},
	InconsistentVoterSet + 1:               {"INCONSISTENT_VOTER_SET", false, "Indicates that the either the sender or recipient of a voter-only request is not one of the expected voters"},
	InvalidUpdateVersion + 1:               {"INVALID_UPDATE_VERSION", false, "The given update version was invalid"},
	FeatureUpdateFailed + 1:                {"FEATURE_UPDATE_FAILED", false, "Unable to update finalized features due to an unexpected server error"},
	PrincipalDeserializationFailure + 1:    {"PRINCIPAL_DESERIALIZATION_FAILURE", false, "Request principal deserialization failed during forwarding"},
	SnapshotNotFound + 1:                   {"SNAPSHOT_NOT_FOUND", false, "Requested snapshot was not found"},
	PositionOutOfRange + 1:                 {"POSITION_OUT_OF_RANGE", false, "Requested position is not greater than or equal to zero, and less than the size of the snapshot"},
	UnknownTopicID + 1:                     {"UNKNOWN_TOPIC_ID", true, "This server does not host this topic ID"},
	DuplicateBrokerRegistration + 1:        {"DUPLICATE_BROKER_REGISTRATION", false, "This broker ID is already in use"},
	BrokerIDNotRegistered + 1:              {"BROKER_ID_NOT_REGISTERED", false, "The given broker ID was not registered"},
	InconsistentTopicID + 1:                {"INCONSISTENT_TOPIC_ID", true, "The log's topic ID did not match the topic ID in the request"},
	InconsistentClusterID + 1:              {"INCONSISTENT_CLUSTER_ID", false, "The clusterId in the request does not match that found on the server"},
	TransactionalIDNotFound + 1:            {"TRANSACTIONAL_ID_NOT_FOUND", false, "The transactionalId could not be found"},
	FetchSessionTopicIDError + 1:           {"FETCH_SESSION_TOPIC_ID_ERROR", true, "The fetch session encountered inconsistent topic ID usage"},
	IneligibleReplica + 1:                  {"INELIGIBLE_REPLICA", false, "The new ISR contains at least one ineligible replica"},
	NewLeaderElected + 1:                   {"NEW_LEADER_ELECTED", false, "The AlterPartition request successfully updated the partition state but the leader has changed"},
	OffsetMovedToTieredStorage + 1:         {"OFFSET_MOVED_TO_TIERED_STORAGE", false, "The requested offset is moved to tiered storage"},
	FencedMemberEpoch + 1:                  {"FENCED_MEMBER_EPOCH", false, "The member epoch is fenced by the group coordinator"},
	UnreleasedInstanceID + 1:               {"UNRELEASED_INSTANCE_ID", false, "The instance ID is still used by another member in the consumer group"},
	UnsupportedAssignor + 1:                {"UNSUPPORTED_ASSIGNOR", false, "The assignor or its version range is not supported by the consumer group"},
	StaleMemberEpoch + 1:                   {"STALE_MEMBER_EPOCH", false, "The member epoch is stale"},
	MismatchedEndpointType + 1:             {"MISMATCHED_ENDPOINT_TYPE", false, "The request was sent to an endpoint of the wrong type"},
	UnsupportedEndpointType + 1:            {"UNSUPPORTED_ENDPOINT_TYPE", false, "This endpoint type is not supported yet"},
	UnknownControllerID + 1:                {"UNKNOWN_CONTROLLER_ID", false, "This controller ID is not known"},
	UnknownSubscriptionID + 1:              {"UNKNOWN_SUBSCRIPTION_ID", false, "Client sent a push telemetry request with an invalid or outdated subscription ID"},
	TelemetryTooLarge + 1:                  {"TELEMETRY_TOO_LARGE", false, "Client sent a push telemetry request larger than the maximum size the broker will accept"},
	InvalidRegistration + 1:                {"INVALID_REGISTRATION", false, "The controller has considered the broker registration to be invalid"},
	TransactionAbortable + 1:               {"TRANSACTION_ABORTABLE", false, "The server encountered an error with the transaction"},
	InvalidRecordState + 1:                 {"INVALID_RECORD_STATE", false, "The record state is invalid"},
	ShareSessionNotFound + 1:               {"SHARE_SESSION_NOT_FOUND", true, "The share session was not found"},
	InvalidShareSessionEpoch + 1:           {"INVALID_SHARE_SESSION_EPOCH", true, "The share session epoch is invalid"},
	FencedStateEpoch + 1:                   {"FENCED_STATE_EPOCH", false, "The share coordinator rejected the request because the share-group state epoch did not match"},
	InvalidVoterKey + 1:                    {"INVALID_VOTER_KEY", false, "The voter key doesn't match the receiving replica's key"},
	DuplicateVoter + 1:                     {"DUPLICATE_VOTER", false, "The voter is already part of the set of voters"},
	VoterNotFound + 1:                      {"VOTER_NOT_FOUND", false, "The voter is not part of the set of voters"},
	InvalidRegularExpression + 1:           {"INVALID_REGULAR_EXPRESSION", false, "The regular expression is not valid"},
	RebootstrapRequired + 1:                {"REBOOTSTRAP_REQUIRED", false, "Client metadata is stale"},
	StreamsInvalidTopology + 1:             {"STREAMS_INVALID_TOPOLOGY", false, "The supplied topology is invalid"},
	StreamsInvalidTopologyEpoch + 1:        {"STREAMS_INVALID_TOPOLOGY_EPOCH", false, "The supplied topology epoch is invalid"},
	StreamsTopologyFenced + 1:              {"STREAMS_TOPOLOGY_FENCED", false, "The supplied topology epoch is outdated"},
	ShareSessionLimitReached + 1:           {"SHARE_SESSION_LIMIT_REACHED", true, "The limit of share sessions has been reached"},
}
