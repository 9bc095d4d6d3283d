package broker

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/stelemq/stele/broker/metadata"
)

// feature is a feature level that Kafka's tools and clients look for.
type feature struct {
	name string
	// min and max are what this software can do, def what a cluster begins with.
	min, max, def int16
	// grows: the level cannot be lowered again.
	grows bool
}

// featureTable, by name. Levels are those of Kafka 4.3; transaction.version is not there before transactions are.
//
//nolint:gochecknoglobals // constant table
var featureTable = [...]feature{
	{name: "group.version", max: 1, def: 1},
	{name: "kraft.version", max: 1, def: 1, grows: true},
	{name: "metadata.version", min: 7, max: 30, def: 30, grows: true},
}

// level is the level of a feature that holds in the cluster; 0: it is off.
func (f *feature) level(image *metadata.Image) int16 {
	if level, ok := image.Feature(f.name); ok {
		return level
	}
	return f.def
}

func featureNamed(name string) *feature {
	for i := range featureTable {
		if featureTable[i].name == name {
			return &featureTable[i]
		}
	}
	return nil
}

// tellFeatures fills in what is supported and what is finalized. Below v4 of ApiVersions a feature whose lowest level is 0
// is left out: clients of that time take 0 for a mistake (KAFKA-17011).
func tellFeatures(resp *kmsg.ApiVersionsResponse, version int16, image *metadata.Image) {
	if version < 3 {
		return
	}
	for i := range featureTable {
		f := &featureTable[i]
		if f.min > 0 || version >= 4 {
			resp.SupportedFeatures = append(resp.SupportedFeatures, kmsg.ApiVersionsResponseSupportedFeature{Name: f.name, MinVersion: f.min, MaxVersion: f.max})
		}
		if level := f.level(image); level > 0 {
			resp.FinalizedFeatures = append(resp.FinalizedFeatures, kmsg.ApiVersionsResponseFinalizedFeature{Name: f.name, MaxVersionLevel: level, MinVersionLevel: level})
		}
	}
	resp.FinalizedFeaturesEpoch = int64(image.Index()) //nolint:gosec // far below
}
