package protocol

import (
	"unsafe"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// txnShapes are those of requests about transactions.
//
//nolint:gochecknoglobals // constant table
var txnShapes = [...][]field{
	KeyInitProducerId: {
		{kind: text},
		{size: 4},
		{size: 8, since: 3},
		{size: 2, since: 3},
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
	KeyDescribeTransactions: {
		{kind: list, mem: unsafe.Sizeof(""), elem: []field{{kind: text}}},
	},
	KeyListTransactions: {
		{kind: list, mem: unsafe.Sizeof(""), elem: []field{{kind: text}}},
		{kind: list, mem: unsafe.Sizeof(int64(0)), elem: []field{{size: 8}}},
		{size: 8, since: 1},
		{kind: text, since: 2},
	},
}
