package protocol

import (
	"slices"
	"sort"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// never stands for FlexibleFrom of APIs without flexible versions.
const never = -1

// API is a row of the table: what this broker knows of one of Kafka's APIs.
type API struct {
	Key  int16
	Name string // as in Kafka
	// Min and Max are the versions to advertise, inclusive.
	Min, Max int16
	// ServedMin is the lowest version that is answered with more than an error: above Min where old clients look for a version
	// that they do not need (KAFKA-18659).
	ServedMin int16
	// FlexibleFrom is the first version with tagged fields and compact lengths (KIP-482); -1 if there is none.
	FlexibleFrom int16
	// Served is true if the API is implemented; others are not advertised.
	Served bool
}

// APIs are all APIs in the table, ascending by key, served or not.
func APIs() []API { return slices.Clone(apiTable[:]) }

// Lookup finds the API of a key.
func Lookup(key int16) (API, bool) {
	i := sort.Search(len(apiTable), func(i int) bool { return apiTable[i].Key >= key })
	if i == len(apiTable) || apiTable[i].Key != key {
		return API{}, false
	}
	return apiTable[i], true
}

// Advertises is true if the version is one of those in ApiVersions.
func (a API) Advertises(version int16) bool { return version >= a.Min && version <= a.Max }

// Serves is true if the API is served in this version.
func (a API) Serves(version int16) bool {
	return a.Served && version >= a.ServedMin && version <= a.Max
}

// Flexible is true if the version has tagged fields and compact lengths.
func (a API) Flexible(version int16) bool {
	return a.FlexibleFrom != never && version >= a.FlexibleFrom
}

// RequestHeaderVersion is the version of the header of a request in this version: 1, or 2 with tagged fields.
func (a API) RequestHeaderVersion(version int16) int16 {
	if a.Flexible(version) {
		return 2
	}
	return 1
}

// ResponseHeaderVersion is the version of the header of a response in this version: 0, or 1 with tagged fields. That of ApiVersions is
// always 0, since a client reads it before it knows the broker (KIP-511).
func (a API) ResponseHeaderVersion(version int16) int16 {
	if a.Key != KeyApiVersions && a.Flexible(version) {
		return 1
	}
	return 0
}

// AdvertisedKeys are the served APIs as they stand in the response to ApiVersions.
func AdvertisedKeys() []kmsg.ApiVersionsResponseApiKey {
	var keys []kmsg.ApiVersionsResponseApiKey
	for _, a := range &apiTable {
		if a.Served {
			k := kmsg.NewApiVersionsResponseApiKey()
			k.ApiKey, k.MinVersion, k.MaxVersion = a.Key, a.Min, a.Max
			keys = append(keys, k)
		}
	}
	return keys
}
