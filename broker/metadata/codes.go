package metadata

// Code is one of Kafka's error codes.
type Code int16

// Codes that commands are refused with.
const (
	codeUnknownTopicOrPartition Code = 3
	codeInvalidTopic            Code = 17
	codeTopicExists             Code = 36
	codeInvalidPartitions       Code = 37
	codeInvalidReplication      Code = 38
	codeInvalidAssignment       Code = 39
	codeInvalidRequest          Code = 42
	codeUnsupportedVersion      Code = 35
	codeUnknownTopicID          Code = 100
)
