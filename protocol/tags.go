package protocol

// Tagged fields that this broker adds to answers; Kafka's clients skip them. They lie far above Kafka's own.
const (
	// TagVotersWanted in DescribeQuorum's answer is how many replicas of the metadata should vote, one byte.
	TagVotersWanted uint32 = 9001
)
