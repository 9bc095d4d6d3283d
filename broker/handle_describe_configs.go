package broker

import (
	"slices"
	"strconv"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/stelemq/stele/broker/metadata"
	"github.com/stelemq/stele/broker/topicconfig"
	"github.com/stelemq/stele/protocol"
)

// DescribeConfigs: v0-v4
//
// Behaviour: the settings of topics and of this broker with their sources; an empty broker name means
// the cluster's dynamic settings. Names not known are left out.
//
// Version notes: v1 sources and synonyms; v3 types and documentation.
//
// Loggers: there is one, root, whose level is log.level. Client metrics and groups see named_configs.go.

func (k *call) describeConfigs(req *kmsg.DescribeConfigsRequest) kmsg.Response {
	resp := kmsg.NewPtrDescribeConfigsResponse()
	image := k.b.opts.Metadata.Image()
	for i := range req.Resources {
		r := &req.Resources[i]
		out := kmsg.NewDescribeConfigsResponseResource()
		out.ResourceType, out.ResourceName = r.ResourceType, r.ResourceName
		var code protocol.Code
		var text string
		switch r.ResourceType {
		case kmsg.ConfigResourceTypeTopic:
			out.Configs, code, text = k.topicConfigs(image, r, req)
		case kmsg.ConfigResourceTypeBroker:
			out.Configs, code, text = k.brokerConfigs(image, r, req)
		case kmsg.ConfigResourceTypeBrokerLogger:
			out.Configs, code, text = k.loggerConfigs(image, r, req)
		case kmsg.ConfigResourceTypeClientMetrics, kmsg.ConfigResourceTypeGroupConfig:
			out.Configs, code, text = k.namedConfigs(image, r, req)
		default:
			code, text = protocol.InvalidRequest, "Unsupported resource type: "+r.ResourceType.String()
		}
		if code != protocol.None {
			out.ErrorCode, out.ErrorMessage = k.code(code), &text
		}
		resp.Resources = append(resp.Resources, out)
	}
	return resp
}

func wanted(names []string, name string) bool { return len(names) == 0 || slices.Contains(names, name) }

func (k *call) topicConfigs(image *metadata.Image, r *kmsg.DescribeConfigsRequestResource, req *kmsg.DescribeConfigsRequest) ([]kmsg.DescribeConfigsResponseResourceConfig, protocol.Code, string) {
	t, code := k.b.topicNamed(image, r.ResourceName)
	if err := metadata.ValidateTopicName(r.ResourceName); err != nil {
		return nil, protocol.InvalidTopicException, err.Error()
	}
	if code != protocol.None {
		return nil, code, "This server does not host this topic-partition."
	}
	var out []kmsg.DescribeConfigsResponseResourceConfig
	inherited := k.b.inherited(image)
	for i := range k.b.schema.Defs() {
		d := &k.b.schema.Defs()[i]
		if !wanted(r.ConfigNames, d.Name) {
			continue
		}
		values := topicconfig.Resolve(d, t.Configs, inherited, replicasOf(t))
		c := describeValue(d.Name, values, req.IncludeSynonyms)
		c.IsDefault = values[0].Source == topicconfig.SourceDefault
		c.ConfigType = kmsg.ConfigType(d.Type)
		if req.IncludeDocumentation {
			c.Documentation = &d.Doc
		}
		out = append(out, c)
	}
	return out, protocol.None, ""
}

// describeValue answers the value that holds; values has at least one element.
func describeValue(name string, values []topicconfig.Value, synonyms bool) kmsg.DescribeConfigsResponseResourceConfig {
	c := kmsg.NewDescribeConfigsResponseResourceConfig()
	c.Name, c.Value, c.Source = name, &values[0].Value, kmsg.ConfigSource(values[0].Source)
	if synonyms {
		for i := range values {
			c.ConfigSynonyms = append(c.ConfigSynonyms, kmsg.DescribeConfigsResponseResourceConfigConfigSynonym{
				Name: values[i].Name, Value: &values[i].Value, Source: kmsg.ConfigSource(values[i].Source),
			})
		}
	}
	return c
}

func (k *call) brokerConfigs(image *metadata.Image, r *kmsg.DescribeConfigsRequestResource, req *kmsg.DescribeConfigsRequest) ([]kmsg.DescribeConfigsResponseResourceConfig, protocol.Code, string) {
	cluster := r.ResourceName == ""
	if !cluster {
		id, err := strconv.ParseInt(r.ResourceName, 10, 32)
		if err != nil {
			return nil, protocol.InvalidRequest, "Broker id must be an integer, but it is: " + r.ResourceName
		}
		if int32(id) != k.b.opts.NodeID {
			return nil, protocol.InvalidRequest, "Unexpected broker id, expected " + strconv.Itoa(int(k.b.opts.NodeID)) +
				" or empty string, but received " + r.ResourceName
		}
	}
	var out []kmsg.DescribeConfigsResponseResourceConfig
	inherited := k.b.inherited(image)
	for i := range k.b.opts.Config.Settings {
		s := &k.b.opts.Config.Settings[i]
		if !wanted(r.ConfigNames, s.Name) {
			continue
		}
		values := inherited(s.Name)
		if cluster {
			values = slices.DeleteFunc(values, func(v topicconfig.Value) bool { return v.Source != topicconfig.SourceDynamicAll })
			if len(values) == 0 {
				continue
			}
		}
		if len(values) == 0 { // without a default and not set
			values = []topicconfig.Value{{Name: s.Name, Value: s.Value, Source: topicconfig.SourceDefault}}
		}
		c := describeValue(s.Name, values, req.IncludeSynonyms)
		c.ReadOnly, c.IsSensitive, c.ConfigType = !s.Dynamic, s.Sensitive, kmsg.ConfigType(s.Type)
		c.IsDefault = values[0].Source == topicconfig.SourceDefault
		if s.Sensitive {
			c.Value = nil
			for n := range c.ConfigSynonyms {
				c.ConfigSynonyms[n].Value = nil
			}
		}
		if req.IncludeDocumentation {
			c.Documentation = &s.Doc
		}
		out = append(out, c)
	}
	return out, protocol.None, ""
}
