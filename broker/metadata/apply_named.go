package metadata

import (
	"maps"

	"github.com/stelemq/stele/protocol"
)

// setNamedConfigs changes the settings of a subscription to client metrics or of a group. Without settings it is gone.
func (i *Image) setNamedConfigs(c *SetConfigs) Result {
	if c.Name == "" {
		return refuse(protocol.InvalidRequest, "a resource of type %q needs a name", c.Resource)
	}
	kinds := maps.Clone(i.namedConfigs)
	if kinds == nil {
		kinds = map[ConfigResource]map[string]map[string]string{}
	}
	names := maps.Clone(kinds[c.Resource])
	if names == nil {
		names = map[string]map[string]string{}
	}
	names[c.Name] = changed(names[c.Name], c.Set)
	if len(names[c.Name]) == 0 {
		delete(names, c.Name)
	}
	kinds[c.Resource] = names
	i.namedConfigs = kinds
	return Result{}
}
