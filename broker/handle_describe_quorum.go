package broker

import (
	"context"
	"encoding/base64"
	"net"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/stelemq/stele/broker/metadata"
	"github.com/stelemq/stele/protocol"
)

// DescribeQuorum: v0-v2
//
// Behaviour: who replicates the cluster metadata, as the controller knows; any broker answers. Replicas are named by
// their nodes, offsets are indexes of metadata commands. A node whose disk was replaced may be listed twice for a moment, as
// a voter that is about to leave and as an observer.
//
// Beside Kafka's fields the answer has a tag that says how many are to vote.
//
// Version notes: v1 times of the last contact; v2 directories of the replicas, addresses and error texts.

const (
	metadataTopic     = "__cluster_metadata"
	quorumTimeout     = 3 * time.Second
	quorumListener    = "CONTROLLER"
	directoryIDLength = 16
)

func (k *call) describeQuorum(req *kmsg.DescribeQuorumRequest) kmsg.Response {
	resp := kmsg.NewPtrDescribeQuorumResponse()
	if len(req.Topics) != 1 || req.Topics[0].Topic != metadataTopic || len(req.Topics[0].Partitions) != 1 || req.Topics[0].Partitions[0].Partition != 0 {
		for _, t := range req.Topics {
			out := kmsg.DescribeQuorumResponseTopic{Topic: t.Topic}
			for _, p := range t.Partitions {
				out.Partitions = append(out.Partitions, kmsg.DescribeQuorumResponseTopicPartition{
					Partition: p.Partition, ErrorCode: k.code(protocol.UnknownTopicOrPartition),
				})
			}
			resp.Topics = append(resp.Topics, out)
		}
		return resp
	}
	p := kmsg.NewDescribeQuorumResponseTopicPartition()
	ctx, cancel := context.WithTimeout(k.ctx, quorumTimeout)
	defer cancel()
	if a, err := k.b.quorum(ctx); err != nil {
		text := "The controller cannot be asked: " + err.Error()
		p.ErrorCode, p.ErrorMessage, p.LeaderID, p.LeaderEpoch = k.code(protocol.NotLeaderOrFollower), &text, -1, -1
	} else {
		image := k.b.opts.Metadata.Image()
		p.LeaderID, p.LeaderEpoch, p.HighWatermark = a.Leader, int32(a.Term), int64(a.Index)+1 //nolint:gosec // far below
		resp.UnknownTags.Set(protocol.TagVotersWanted, []byte{byte(a.Wanted)})
		for i := range a.Members {
			m := &a.Members[i]
			if s := m.state(image); m.Voter {
				p.CurrentVoters = append(p.CurrentVoters, s)
			} else {
				p.Observers = append(p.Observers, s)
			}
			if n, ok := quorumNode(image, m.Node); ok {
				resp.Nodes = append(resp.Nodes, n)
			}
		}
	}
	resp.Topics = []kmsg.DescribeQuorumResponseTopic{{Topic: metadataTopic, Partitions: []kmsg.DescribeQuorumResponseTopicPartition{p}}}
	return resp
}

func (m *quorumMember) state(image *metadata.Image) kmsg.DescribeQuorumResponseTopicPartitionReplicaState {
	s := kmsg.NewDescribeQuorumResponseTopicPartitionReplicaState()
	s.ReplicaID, s.LogEndOffset, s.LastFetchTimestamp, s.LastCaughtUpTimestamp = m.Node, -1, -1, -1
	if m.HeardMillis > 0 {
		s.LogEndOffset, s.LastFetchTimestamp = int64(m.Index)+1, m.HeardMillis //nolint:gosec // far below
	}
	if m.CaughtUpMillis > 0 {
		s.LastCaughtUpTimestamp = m.CaughtUpMillis
	}
	if br, ok := image.Broker(m.Node); ok && br.MetadataReplica == m.Replica {
		if id, err := base64.RawURLEncoding.DecodeString(br.DirectoryID); err == nil && len(id) == directoryIDLength {
			s.ReplicaDirectoryID = [directoryIDLength]byte(id)
		}
	}
	return s
}

func quorumNode(image *metadata.Image, node int32) (kmsg.DescribeQuorumResponseNode, bool) {
	br, ok := image.Broker(node)
	if !ok {
		return kmsg.DescribeQuorumResponseNode{}, false
	}
	host, portText, err := net.SplitHostPort(br.RaftAddress)
	port, numErr := strconv.ParseUint(portText, 10, 16)
	if err != nil || numErr != nil {
		return kmsg.DescribeQuorumResponseNode{}, false
	}
	l := kmsg.NewDescribeQuorumResponseNodeListener()
	l.Name, l.Host, l.Port = quorumListener, host, uint16(port)
	return kmsg.DescribeQuorumResponseNode{NodeID: node, Listeners: []kmsg.DescribeQuorumResponseNodeListener{l}}, true
}
