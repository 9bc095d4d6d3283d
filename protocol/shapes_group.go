package protocol

import (
	"unsafe"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// groupShapes are those of requests about consumer groups.
//
//nolint:gochecknoglobals // constant table
var groupShapes = [...][]field{
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
	KeyDeleteGroups: {
		{kind: list, mem: unsafe.Sizeof(""), elem: []field{{kind: text}}},
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
}
