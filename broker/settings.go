package broker

import (
	"github.com/stelemq/stele/broker/metadata"
	"github.com/stelemq/stele/broker/topicconfig"
)

// inherited looks up what a topic inherits: the cluster's dynamic settings, this broker's, and those of
// its configuration file, in Kafka's order of precedence.
func (b *Broker) inherited(image *metadata.Image) topicconfig.Inherited {
	return func(name string) []topicconfig.Value {
		var out []topicconfig.Value
		if v, ok := image.BrokerConfig(b.opts.NodeID, name); ok {
			out = append(out, topicconfig.Value{Name: name, Value: v, Source: topicconfig.SourceDynamicBroker})
		}
		if v, ok := image.ClusterConfig(name); ok {
			out = append(out, topicconfig.Value{Name: name, Value: v, Source: topicconfig.SourceDynamicAll})
		}
		if s, ok := b.settings[name]; ok {
			if s.Explicit {
				out = append(out, topicconfig.Value{Name: name, Value: s.Value, Source: topicconfig.SourceStaticBroker})
			}
			if s.Default != "" {
				out = append(out, topicconfig.Value{Name: name, Value: s.Default, Source: topicconfig.SourceDefault})
			}
		}
		return out
	}
}

// topicSettings are the settings that hold for a topic.
func (b *Broker) topicSettings(image *metadata.Image, t *metadata.Topic) topicconfig.Values {
	return b.schema.Parse(t.Configs, b.inherited(image), replicasOf(t))
}

// replicasOf is the number of replicas by which min.insync.replicas=auto counts: the fewest that vote in any
// partition. While a topic grows from one replica to three, asking for two of what is still one would
// refuse every write.
func replicasOf(t *metadata.Topic) int {
	least := 1
	for n := range t.Partitions {
		if v := t.Partitions[n].Voters(); n == 0 || v < least {
			least = v
		}
	}
	return max(least, 1)
}

// factorOf is a topic's replication factor: what new partitions get.
func factorOf(t *metadata.Topic) int {
	if len(t.Partitions) == 0 {
		return 1
	}
	return len(t.Partitions[0].Wanted())
}

// replicationFactor is what a topic gets that asks for the default.
func (b *Broker) replicationFactor(image *metadata.Image) int {
	if rf := int(b.opts.Config.ReplicationFactor); rf > 0 {
		return rf
	}
	if image.Members() >= 3 {
		return 3
	}
	return 1
}
