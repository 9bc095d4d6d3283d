package protocol

import (
	"unsafe"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// securityShapes are those of requests about who may do what: logins, users, tokens, access lists, quotas.
//
//nolint:gochecknoglobals // constant table
var securityShapes = [...][]field{
	KeySaslHandshake: {
		{kind: text},
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
	KeySaslAuthenticate: {
		{kind: blob},
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
}
