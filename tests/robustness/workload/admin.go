package workload

import (
	"context"
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Ask makes one request to one broker after the other until one answers it, or ctx ends. An answer is judged by accept: an error
// of it has the next one asked. An error says nothing about whether the request was carried out.
func Ask(ctx context.Context, addrs []string, req kmsg.Request, resp kmsg.Response, accept func() error) error {
	var last error
	for {
		for _, addr := range addrs {
			if last = askOnce(ctx, addr, req, resp); last == nil && accept != nil {
				last = accept()
			}
			if last == nil {
				return nil
			}
		}
		if err := pause(ctx, retryPause); err != nil {
			return fmt.Errorf("%w; last: %w", err, last)
		}
	}
}

func askOnce(ctx context.Context, addr string, req kmsg.Request, resp kmsg.Response) error {
	c, err := dialOnce(ctx, addr)
	if err != nil {
		return err
	}
	defer c.close()
	return c.do(req, resp)
}

// Topic is what a broker says of a topic.
type Topic struct {
	Partitions int
	// Replicas of each partition, in the order that the broker gives.
	Replicas [][]int32
}

// Cluster asks one broker for the controller and all topics. Errors: it does not answer.
func Cluster(ctx context.Context, addr string) (controller int32, topics map[string]Topic, err error) {
	req := kmsg.NewPtrMetadataRequest()
	req.SetVersion(9)
	resp := kmsg.NewPtrMetadataResponse()
	if err := askOnce(ctx, addr, req, resp); err != nil {
		return 0, nil, err
	}
	topics = map[string]Topic{}
	for i := range resp.Topics {
		t := Topic{Partitions: len(resp.Topics[i].Partitions), Replicas: make([][]int32, len(resp.Topics[i].Partitions))}
		for _, p := range resp.Topics[i].Partitions {
			if int(p.Partition) < len(t.Replicas) {
				t.Replicas[p.Partition] = p.Replicas
			}
		}
		if resp.Topics[i].Topic != nil {
			topics[*resp.Topics[i].Topic] = t
		}
	}
	return resp.ControllerID, topics, nil
}

// Create makes a topic; one that is there already is as good. Settings are its configuration.
func Create(ctx context.Context, addrs []string, name string, partitions int32, replicas int16, settings map[string]string) error {
	topic := kmsg.NewCreateTopicsRequestTopic()
	topic.Topic, topic.NumPartitions, topic.ReplicationFactor = name, partitions, replicas
	for k, v := range settings {
		topic.Configs = append(topic.Configs, kmsg.CreateTopicsRequestTopicConfig{Name: k, Value: &v})
	}
	req := kmsg.NewPtrCreateTopicsRequest()
	req.SetVersion(5)
	req.TimeoutMillis = 5_000
	req.Topics = append(req.Topics, topic)
	resp := kmsg.NewPtrCreateTopicsResponse()
	return Ask(ctx, addrs, req, resp, func() error {
		if len(resp.Topics) != 1 {
			return fmt.Errorf("%w: %d topics", errAnswer, len(resp.Topics))
		}
		if n := resp.Topics[0].ErrorCode; n != codeTopicExists {
			return errorOf(n)
		}
		return nil
	})
}

const codeUnknownTopic = 3

// Delete deletes a topic; one that is not there is as good.
func Delete(ctx context.Context, addrs []string, name string) error {
	req := kmsg.NewPtrDeleteTopicsRequest()
	req.SetVersion(5)
	req.TimeoutMillis, req.TopicNames = 5_000, []string{name}
	resp := kmsg.NewPtrDeleteTopicsResponse()
	return Ask(ctx, addrs, req, resp, func() error {
		if len(resp.Topics) != 1 {
			return fmt.Errorf("%w: %d topics", errAnswer, len(resp.Topics))
		}
		if n := resp.Topics[0].ErrorCode; n != codeUnknownTopic {
			return errorOf(n)
		}
		return nil
	})
}

const codeInvalidPartitions = 37

// Grow gives a topic more partitions; one that has so many, or more, is as good.
func Grow(ctx context.Context, addrs []string, name string, partitions int32) error {
	req := kmsg.NewPtrCreatePartitionsRequest()
	req.SetVersion(2)
	req.TimeoutMillis = 5_000
	topic := kmsg.NewCreatePartitionsRequestTopic()
	topic.Topic, topic.Count = name, partitions
	req.Topics = append(req.Topics, topic)
	resp := kmsg.NewPtrCreatePartitionsResponse()
	return Ask(ctx, addrs, req, resp, func() error {
		if len(resp.Topics) != 1 {
			return fmt.Errorf("%w: %d topics", errAnswer, len(resp.Topics))
		}
		if n := resp.Topics[0].ErrorCode; n != codeInvalidPartitions {
			return errorOf(n)
		}
		return nil
	})
}

// Configure sets one setting of a topic.
func Configure(ctx context.Context, addrs []string, name, key, value string) error {
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	req.SetVersion(1)
	r := kmsg.NewIncrementalAlterConfigsRequestResource()
	r.ResourceType, r.ResourceName = kmsg.ConfigResourceTypeTopic, name
	r.Configs = append(r.Configs, kmsg.IncrementalAlterConfigsRequestResourceConfig{Name: key, Op: kmsg.IncrementalAlterConfigOpSet, Value: &value})
	req.Resources = append(req.Resources, r)
	resp := kmsg.NewPtrIncrementalAlterConfigsResponse()
	return Ask(ctx, addrs, req, resp, func() error {
		if len(resp.Resources) != 1 {
			return fmt.Errorf("%w: %d resources", errAnswer, len(resp.Resources))
		}
		return errorOf(resp.Resources[0].ErrorCode)
	})
}

// Reassign says where the replicas of partitions are to be.
func Reassign(ctx context.Context, addrs []string, name string, replicas map[int32][]int32) error {
	req := kmsg.NewPtrAlterPartitionAssignmentsRequest()
	req.SetVersion(0)
	req.TimeoutMillis = 5_000
	topic := kmsg.NewAlterPartitionAssignmentsRequestTopic()
	topic.Topic = name
	for p, nodes := range replicas {
		topic.Partitions = append(topic.Partitions, kmsg.AlterPartitionAssignmentsRequestTopicPartition{Partition: p, Replicas: nodes})
	}
	req.Topics = append(req.Topics, topic)
	resp := kmsg.NewPtrAlterPartitionAssignmentsResponse()
	return Ask(ctx, addrs, req, resp, func() error {
		if err := errorOf(resp.ErrorCode); err != nil {
			return err
		}
		for _, t := range resp.Topics {
			for _, p := range t.Partitions {
				if err := errorOf(p.ErrorCode); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// Moving returns how many partitions are being reassigned, as any broker says.
func Moving(ctx context.Context, addrs []string) (n int, err error) {
	req := kmsg.NewPtrListPartitionReassignmentsRequest()
	req.SetVersion(0)
	req.TimeoutMillis = 5_000
	resp := kmsg.NewPtrListPartitionReassignmentsResponse()
	err = Ask(ctx, addrs, req, resp, func() error { return errorOf(resp.ErrorCode) })
	for _, t := range resp.Topics {
		n += len(t.Partitions)
	}
	return n, err
}

// SameNodes reports whether two lists name the same nodes.
func SameNodes(a, b []int32) bool {
	return slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b)))
}

// Voters asks for the nodes that vote in the metadata.
func Voters(ctx context.Context, addrs []string) (nodes []int32, err error) {
	req := kmsg.NewPtrDescribeQuorumRequest()
	req.SetVersion(0)
	req.Topics = []kmsg.DescribeQuorumRequestTopic{{Topic: "__cluster_metadata", Partitions: []kmsg.DescribeQuorumRequestTopicPartition{{}}}}
	resp := kmsg.NewPtrDescribeQuorumResponse()
	err = Ask(ctx, addrs, req, resp, func() error {
		nodes = nil
		if err := errorOf(resp.ErrorCode); err != nil {
			return err
		}
		for _, t := range resp.Topics {
			for _, p := range t.Partitions {
				if err := errorOf(p.ErrorCode); err != nil {
					return err
				}
				for _, v := range p.CurrentVoters {
					nodes = append(nodes, v.ReplicaID)
				}
			}
		}
		if len(nodes) == 0 {
			return fmt.Errorf("%w: no voters", errAnswer)
		}
		return nil
	})
	return nodes, err
}
