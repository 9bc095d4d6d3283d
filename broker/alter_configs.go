package broker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/stelemq/stele/broker/metadata"
	"github.com/stelemq/stele/broker/topicconfig"
	"github.com/stelemq/stele/protocol"
)

// configChange is one setting of a request that changes settings.
type configChange struct {
	name  string
	op    kmsg.IncrementalAlterConfigOp
	value *string
}

// configResource is what a request wants changed of one resource.
type configResource struct {
	kind kmsg.ConfigResourceType
	name string
	// replace: settings that are not named are removed (AlterConfigs).
	replace bool
	changes []configChange
}

// resourceKey tells resources of a request apart.
type resourceKey struct {
	kind kmsg.ConfigResourceType
	name string
}

// alterEach changes each resource for itself and answers for each. One that is named more than once is refused, once.
func (k *call) alterEach(resources []*configResource, validateOnly bool, answer func(r *configResource, code int16, message *string)) {
	times := make(map[resourceKey]int, len(resources))
	for _, r := range resources {
		times[resourceKey{r.kind, r.name}]++
	}
	for _, r := range resources {
		key := resourceKey{r.kind, r.name}
		var refused *metadata.Error
		switch times[key] {
		case 0:
			continue // answered before
		case 1:
			refused = k.alterConfig(r, validateOnly)
		default:
			refused = configError(protocol.InvalidRequest, "Each resource must appear at most once.")
		}
		times[key] = 0
		if refused == nil {
			answer(r, 0, nil)
			continue
		}
		answer(r, k.code(refused.Code), &refused.Message)
	}
}

func configError(code protocol.Code, format string, args ...any) *metadata.Error {
	return &metadata.Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// alterConfig checks the changes of one resource and, unless they are only to be checked, carries them out.
func (k *call) alterConfig(r *configResource, validateOnly bool) *metadata.Error {
	if refused := r.check(); refused != nil {
		return refused
	}
	image := k.b.opts.Metadata.Image()
	var command *metadata.SetConfigs
	var refused *metadata.Error
	switch r.kind {
	case kmsg.ConfigResourceTypeTopic:
		command, refused = k.b.planTopicConfigs(image, r)
	case kmsg.ConfigResourceTypeBroker:
		command, refused = k.b.planBrokerConfigs(image, r)
	case kmsg.ConfigResourceTypeBrokerLogger:
		command, refused = k.b.planLoggerConfigs(image, r)
	case kmsg.ConfigResourceTypeClientMetrics, kmsg.ConfigResourceTypeGroupConfig:
		command, refused = k.b.planNamedConfigs(image, r)
	default:
		refused = configError(protocol.InvalidRequest, "Unsupported resource type: %s", r.kind)
	}
	if refused != nil || validateOnly || len(command.Set) == 0 {
		return refused
	}
	ctx, cancel := context.WithTimeout(k.ctx, proposeTimeout)
	defer cancel()
	if _, err := k.b.propose(ctx, command); err != nil {
		code, text := refusal(err)
		return &metadata.Error{Code: code, Message: *text}
	}
	k.b.log.Info("settings changed", "resource_type", r.kind.String(), "resource", r.name, "settings", len(command.Set))
	return nil
}

// check looks at the request alone.
func (r *configResource) check() *metadata.Error {
	var null []string
	for i := range r.changes {
		c := &r.changes[i]
		if slices.ContainsFunc(r.changes[:i], func(o configChange) bool { return o.name == c.name }) {
			return configError(protocol.InvalidRequest, "Error due to duplicate config keys")
		}
		if c.op < kmsg.IncrementalAlterConfigOpSet || c.op > kmsg.IncrementalAlterConfigOpSubtract {
			return configError(protocol.InvalidRequest, "Unknown operation %d", c.op)
		}
		if c.value == nil && c.op != kmsg.IncrementalAlterConfigOpDelete {
			null = append(null, c.name)
		}
	}
	if len(null) > 0 {
		return configError(protocol.InvalidRequest, "Null value not supported for : %s", strings.Join(null, ","))
	}
	return nil
}

// apply carries the changes out on the settings that a resource has, and returns what it has then and what
// the command sets. list reports whether a setting is a list, and what it is without a value of its own.
func (r *configResource) apply(have map[string]string, list func(name string) (inherited string, is bool)) (map[string]string, map[string]*string, *metadata.Error) {
	next, set := map[string]string{}, map[string]*string{}
	for name, value := range have {
		if !r.replace {
			next[name] = value
		} else if !slices.ContainsFunc(r.changes, func(c configChange) bool { return c.name == name }) {
			set[name] = nil
		}
	}
	for i := range r.changes {
		c := &r.changes[i]
		switch c.op {
		case kmsg.IncrementalAlterConfigOpDelete:
			delete(next, c.name)
			set[c.name] = nil
		case kmsg.IncrementalAlterConfigOpSet:
			next[c.name], set[c.name] = *c.value, c.value
		default:
			inherited, is := list(c.name)
			if !is {
				return nil, nil, configError(protocol.InvalidConfig, "Can't %s to key %s because its type is not LIST.", strings.ToUpper(c.op.String()), c.name)
			}
			old, ok := next[c.name]
			if !ok {
				old = inherited
			}
			value := changeList(old, *c.value, c.op == kmsg.IncrementalAlterConfigOpAppend)
			next[c.name], set[c.name] = value, &value
		}
	}
	return next, set, nil
}

// changeList adds the elements of one comma-separated list to another, or takes them off.
func changeList(have, change string, add bool) string {
	parts := topicconfig.SplitList(have)
	for _, p := range topicconfig.SplitList(change) {
		at := slices.Index(parts, p)
		if add && at < 0 {
			parts = append(parts, p)
		} else if !add && at >= 0 {
			parts = slices.Delete(parts, at, at+1)
		}
	}
	return strings.Join(parts, ",")
}

func (b *Broker) planTopicConfigs(image *metadata.Image, r *configResource) (*metadata.SetConfigs, *metadata.Error) {
	if err := metadata.ValidateTopicName(r.name); err != nil {
		return nil, configError(protocol.InvalidTopicException, "%s", err)
	}
	t, ok := image.Topic(r.name)
	if !ok {
		return nil, configError(protocol.UnknownTopicOrPartition, "The topic '%s' does not exist.", r.name)
	}
	inherited := b.inherited(image)
	next, set, refused := r.apply(t.Configs, func(name string) (string, bool) {
		d, ok := b.schema.Lookup(name)
		if !ok || d.Type != topicconfig.List {
			return "", false
		}
		return topicconfig.Resolve(d, nil, inherited, replicasOf(t))[0].Value, true
	})
	if refused != nil {
		return nil, refused
	}
	if err := b.schema.ValidateAll(next); err != nil {
		return nil, configError(protocol.InvalidConfig, "%s", err)
	}
	return &metadata.SetConfigs{Resource: metadata.ConfigTopic, Topic: t.ID, Set: set}, nil
}

// planBrokerConfigs plans settings of one broker, or of all where the resource has no name.
func (b *Broker) planBrokerConfigs(image *metadata.Image, r *configResource) (*metadata.SetConfigs, *metadata.Error) {
	command := &metadata.SetConfigs{Resource: metadata.ConfigCluster}
	have := image.ClusterConfigs()
	if r.name != "" {
		id, err := strconv.ParseInt(r.name, 10, 32)
		if err != nil {
			return nil, configError(protocol.InvalidRequest, "Node id must be an integer, but it is: %s", r.name)
		}
		if _, known := image.Broker(int32(id)); !known {
			return nil, configError(protocol.InvalidRequest, "Broker %d is not registered.", id)
		}
		command.Resource, command.Node = metadata.ConfigBroker, int32(id)
		have = image.BrokerConfigs(int32(id))
	}
	next, set, refused := r.apply(have, func(name string) (string, bool) {
		s, ok := b.settings[name]
		if !ok || s.Type != TypeList {
			return "", false
		}
		return s.Value, true
	})
	if refused != nil {
		return nil, refused
	}
	var static []string
	for name := range set {
		if s, ok := b.settings[name]; set[name] != nil && (!ok || !s.Dynamic) {
			static = append(static, name)
		}
	}
	if len(static) > 0 {
		slices.Sort(static)
		return nil, configError(protocol.InvalidRequest, "Cannot update these configs dynamically: %s", strings.Join(static, ", "))
	}
	if r.name != "" {
		for name := range set {
			if b.settings[name] != nil && b.settings[name].ClusterOnly && set[name] != nil {
				return nil, configError(protocol.InvalidConfig, "%s cannot be set for one broker: it holds for the whole cluster", name)
			}
		}
	}
	for _, c := range r.changes {
		if value, ok := next[c.name]; ok {
			if err := b.validateSetting(c.name, value); err != nil {
				return nil, configError(protocol.InvalidRequest, "%s", err) // not INVALID_CONFIG: as Kafka
			}
		}
	}
	command.Set = set
	return command, nil
}

// validateSetting checks a broker setting: by the topic configuration that inherits it, or by its type.
func (b *Broker) validateSetting(name, value string) error {
	for i := range b.schema.Defs() {
		d := &b.schema.Defs()[i]
		for _, s := range d.Synonyms {
			if s.Name == name && s.Unit <= 1 {
				if name == "log.retention.ms" && strings.TrimSpace(value) == "0" {
					return errors.New("log.retention.ms must be unlimited (-1) or, greater than or equal to 1")
				}
				named := *d
				named.Name = name
				return named.Validate(value) //nolint:wrapcheck // a sentence for the client
			}
		}
	}
	if b.settings[name] == nil {
		return fmt.Errorf("Unknown configuration %s", name) //nolint:staticcheck,revive // Kafka's words, for the client
	}
	ok := true
	switch b.settings[name].Type {
	case TypeBoolean:
		ok = strings.EqualFold(value, "true") || strings.EqualFold(value, "false")
	case TypeInt, TypeShort, TypeLong:
		_, err := strconv.ParseInt(strings.TrimSpace(value), 10, 64)
		ok = err == nil
	case TypeDouble:
		_, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
		ok = err == nil
	case TypeUnknown, TypeString, TypeList, TypeClass, TypePassword:
	}
	if !ok {
		return fmt.Errorf("Invalid value %s for configuration %s", value, name) //nolint:staticcheck,revive // Kafka's words, for the client
	}
	if f := b.settings[name].Validate; f != nil {
		if err := f(value); err != nil {
			return fmt.Errorf("Invalid value %s for configuration %s: %w", value, name, err) //nolint:staticcheck,revive // Kafka's words, for the client
		}
	}
	return nil
}
