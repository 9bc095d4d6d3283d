package protocol

import "fmt"

// Lowest and highest versions of Produce that ProduceRequest reads.
const (
	ProduceMin = 3
	ProduceMax = 13
)

const (
	produceFlexible = 9
	produceTopicIDs = 13

	// Memory of one topic and one partition, for bounds.
	produceTopicSize     = 72
	producePartitionSize = 32
	// produceFree is the memory that topics and partitions may take however short the request is.
	produceFree = 4 << 10
)

// ProduceRequest is a request for Produce, v3-v13. One value may be parsed into many times; it keeps its memory. Names and records alias the body of
// the request, and topics are valid until the next Parse.
type ProduceRequest struct {
	TransactionalID []byte // nil if null
	Acks            int16
	TimeoutMillis   int32
	Topics          []ProduceTopic

	partitions []ProducePartition // of all topics, one after the other
}

// ProduceTopic is a topic of a ProduceRequest.
type ProduceTopic struct {
	Name       []byte   // v3-v12
	TopicID    [16]byte // v13
	Partitions []ProducePartition
}

// ProducePartition is a partition of a ProduceTopic.
type ProducePartition struct {
	Partition int32
	Records   []byte // nil if null
}

// Parse reads the body of a request in place. Nothing but the lists of topics and partitions is allocated, and they
// take at most as many bytes as body plus 4 KiB.
//
// Errors: ErrMalformed, ErrTooLarge (more topics and partitions than records could fill), ErrUnsupportedVersion.
func (r *ProduceRequest) Parse(version int16, body []byte) error {
	if version < ProduceMin || version > ProduceMax {
		return fmt.Errorf("%w: Produce v%d", ErrUnsupportedVersion, version)
	}
	topics, partitions, err := r.walk(&cursor{rest: body}, version, false)
	if err != nil {
		return err
	}
	if topics*produceTopicSize+partitions*producePartitionSize > len(body)+produceFree {
		return fmt.Errorf("%w: %d topics and %d partitions in %d bytes", ErrTooLarge, topics, partitions, len(body))
	}
	r.Reset()
	if cap(r.Topics) < topics {
		r.Topics = make([]ProduceTopic, 0, topics)
	}
	if cap(r.partitions) < partitions {
		r.partitions = make([]ProducePartition, 0, partitions)
	}
	_, _, err = r.walk(&cursor{rest: body}, version, true)
	return err
}

// Reset forgets everything that aliases a request's body and keeps the memory.
func (r *ProduceRequest) Reset() {
	clear(r.Topics)
	clear(r.partitions)
	*r = ProduceRequest{Topics: r.Topics[:0], partitions: r.partitions[:0]}
}

// walk reads a body and counts its topics and partitions; with fill it keeps what it reads in r, which has room for them.
func (r *ProduceRequest) walk(c *cursor, version int16, fill bool) (topics, partitions int, err error) {
	flexible := version >= produceFlexible
	id := c.bytes(flexible, 2, "transactional id")
	acks, timeout := c.int16("acks"), c.int32("timeout")
	topics = c.array(flexible, 2, "topics") // a name and partitions take a byte each at least
	if fill {
		r.TransactionalID, r.Acks, r.TimeoutMillis = id, acks, timeout
	}
	for range topics {
		var t ProduceTopic
		if version >= produceTopicIDs {
			copy(t.TopicID[:], c.take(len(t.TopicID), "topic id"))
		} else if t.Name = c.bytes(flexible, 2, "topic name"); t.Name == nil {
			c.fail("topic name")
		}
		n := r.walkPartitions(c, flexible, fill)
		if !c.ok() {
			return 0, 0, c.err()
		}
		if fill {
			t.Partitions = r.partitions[partitions:len(r.partitions):len(r.partitions)]
			r.Topics = append(r.Topics, t)
		}
		partitions += n
	}
	if flexible {
		c.tags("request tags", nil)
	}
	return topics, partitions, c.err()
}

// walkPartitions reads the partitions of a topic and what follows them.
func (r *ProduceRequest) walkPartitions(c *cursor, flexible, fill bool) int {
	n := c.array(flexible, 5, "partitions") // number and length of the records
	for range n {
		p := ProducePartition{Partition: c.int32("partition")}
		p.Records = c.bytes(flexible, 4, "records")
		if flexible {
			c.tags("partition tags", nil)
		}
		if !c.ok() {
			return 0
		}
		if fill {
			r.partitions = append(r.partitions, p)
		}
	}
	if flexible {
		c.tags("topic tags", nil)
	}
	return n
}
