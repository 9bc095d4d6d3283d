package broker

import (
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/stelemq/stele/broker/metadata"
	"github.com/stelemq/stele/protocol"
)

// Settings of what has a name and nothing else: subscriptions to clients' metrics (KIP-714) and groups. They are kept as they
// are set; what they mean is up to who uses them.

// namedConfig is one such setting.
type namedConfig struct {
	name, def, doc string
	kind           SettingType
	// synonym is the broker's setting that holds where there is none; "": def does.
	synonym string
	// min and max bound numbers.
	min, max int64
	// check says what else is wrong with a value; nil: nothing.
	check func(value string) string
}

// Settings of a group of the consumer protocol that hold (see Broker.groupTimes).
const (
	groupHeartbeat = "consumer.heartbeat.interval.ms"
	groupSession   = "consumer.session.timeout.ms"
)

// Keys of a subscription to client metrics, and what it is without them.
const (
	clientMetricsKey         = "metrics"
	clientMetricsInterval    = "interval.ms"
	clientMetricsMatch       = "match"
	clientMetricsIntervalDef = 300_000
	clientMetricsIntervalMin = 100
	clientMetricsIntervalMax = 3_600_000
)

//nolint:gochecknoglobals // constant tables
var (
	clientMetricsConfigs = []namedConfig{
		{name: clientMetricsInterval, def: strconv.Itoa(clientMetricsIntervalDef), kind: TypeInt, min: clientMetricsIntervalMin, max: clientMetricsIntervalMax, doc: "How often clients send their metrics."},
		{name: clientMetricsMatch, kind: TypeList, doc: "Which clients are meant: selector=pattern, several by commas; all must match.", check: checkClientMatch},
		{name: clientMetricsKey, kind: TypeList, doc: "Prefixes of names of metrics; * for all, nothing for none."},
	}
	groupConfigs = []namedConfig{
		{name: groupHeartbeat, def: "5000", synonym: "group.consumer.heartbeat.interval.ms", kind: TypeInt, min: 1, max: 1<<31 - 1, doc: "How often members of a consumer group say that they live."},
		{name: groupSession, def: "45000", synonym: "group.consumer.session.timeout.ms", kind: TypeInt, min: 1, max: 1<<31 - 1, doc: "After how long without a word a member of a consumer group is given up."},
		{name: "share.auto.offset.reset", def: "latest", kind: TypeString, check: checkShareReset, doc: "Where a share group begins."},
		{name: "share.heartbeat.interval.ms", def: "5000", kind: TypeInt, min: 5000, max: 15_000, doc: "How often members of a share group say that they live."},
		{name: "share.isolation.level", def: "read_uncommitted", kind: TypeString, check: checkIsolation, doc: "Which records of transactions a share group reads."},
		{name: "share.record.lock.duration.ms", def: "30000", kind: TypeInt, min: 15_000, max: 60_000, doc: "For how long a record of a share group is a member's."},
		{name: "share.session.timeout.ms", def: "45000", kind: TypeInt, min: 45_000, max: 60_000, doc: "After how long without a word a member of a share group is given up."},
		{name: "streams.heartbeat.interval.ms", def: "5000", kind: TypeInt, min: 5000, max: 15_000, doc: "How often members of a streams group say that they live."},
		{name: "streams.num.standby.replicas", def: "0", kind: TypeInt, min: 0, max: 2, doc: "Standby replicas of each task of a streams group."},
		{name: "streams.session.timeout.ms", def: "45000", kind: TypeInt, min: 45_000, max: 60_000, doc: "After how long without a word a member of a streams group is given up."},
	}
)

// checkShareReset says what is wrong with share.auto.offset.reset.
func checkShareReset(value string) string {
	if value == "latest" || value == "earliest" || shareDuration.MatchString(value) {
		return ""
	}
	return "Invalid value " + value + " for configuration share.auto.offset.reset: The value must be either 'earliest', 'latest' or of the format 'by_duration:<PnDTnHnMn.nS>'"
}

//nolint:gochecknoglobals // compiled once
var shareDuration = regexp.MustCompile(`^by_duration:P(\d+D)?(T(\d+H)?(\d+M)?(\d+(\.\d+)?S)?)?$`)

func checkIsolation(value string) string {
	if value == "read_committed" || value == "read_uncommitted" {
		return ""
	}
	return "Invalid value " + value + " for configuration share.isolation.level: String must be one of: read_committed, read_uncommitted"
}

// clientSelectors are what a subscription can match clients by.
//
//nolint:gochecknoglobals // constant table
var clientSelectors = [...]string{"client_instance_id", "client_id", "client_software_name", "client_software_version", "client_source_address", "client_source_port"}

// checkClientMatch says what is wrong with patterns for clients.
func checkClientMatch(value string) string {
	for part := range strings.SplitSeq(value, ",") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		selector, pattern, ok := strings.Cut(part, "=")
		switch _, err := regexp.Compile(pattern); {
		case !ok:
			return "Illegal client matching pattern: " + part
		case !slices.Contains(clientSelectors[:], strings.TrimSpace(selector)):
			return "Illegal client matching selector: " + selector
		case err != nil:
			return "Illegal client matching pattern: " + part
		}
	}
	return ""
}

func namedConfigKind(t kmsg.ConfigResourceType) (metadata.ConfigResource, []namedConfig, uint8) {
	if t == kmsg.ConfigResourceTypeClientMetrics {
		return metadata.ConfigClientMetrics, clientMetricsConfigs, sourceClientMetrics
	}
	return metadata.ConfigGroup, groupConfigs, sourceGroup
}

// Sources of such settings, as DescribeConfigs tells them.
const (
	sourceClientMetrics = 7
	sourceGroup         = 8
	sourceDefault       = 5
	sourceLogger        = 6
)

// validate says what is wrong with a value, "" where nothing is.
func (c *namedConfig) validate(value string) string {
	if c.kind == TypeInt {
		n, err := strconv.ParseInt(strings.TrimSpace(value), 10, 64)
		if err != nil || n < c.min || n > c.max {
			return "Invalid value " + value + " for configuration " + c.name + ": want a number from " + strconv.FormatInt(c.min, 10) + " to " + strconv.FormatInt(c.max, 10)
		}
	}
	if c.check != nil {
		return c.check(value)
	}
	return ""
}

func (k *call) namedConfigs(image *metadata.Image, r *kmsg.DescribeConfigsRequestResource, req *kmsg.DescribeConfigsRequest) ([]kmsg.DescribeConfigsResponseResourceConfig, protocol.Code, string) {
	if r.ResourceName == "" {
		return nil, protocol.InvalidRequest, "The resource must have a name."
	}
	kind, table, source := namedConfigKind(r.ResourceType)
	have, _ := image.NamedConfigs(kind, r.ResourceName)
	var out []kmsg.DescribeConfigsResponseResourceConfig
	for i := range table {
		d := &table[i]
		if !wanted(r.ConfigNames, d.name) {
			continue
		}
		c := kmsg.NewDescribeConfigsResponseResourceConfig()
		value, set := have[d.name]
		c.Name, c.Value, c.Source = d.name, &value, kmsg.ConfigSource(source) //nolint:gosec // small
		def := d.def
		if value, ok := k.b.setting(image, d.synonym); ok {
			def = value
		}
		if !set {
			c.Value, c.Source, c.IsDefault = &def, sourceDefault, true
		}
		c.ConfigType = kmsg.ConfigType(d.kind)
		if req.IncludeSynonyms {
			if set {
				c.ConfigSynonyms = append(c.ConfigSynonyms, kmsg.DescribeConfigsResponseResourceConfigConfigSynonym{Name: d.name, Value: &value, Source: c.Source})
			}
			c.ConfigSynonyms = append(c.ConfigSynonyms, kmsg.DescribeConfigsResponseResourceConfigConfigSynonym{Name: d.name, Value: &def, Source: sourceDefault})
		}
		if req.IncludeDocumentation {
			c.Documentation = &d.doc
		}
		out = append(out, c)
	}
	return out, protocol.None, ""
}

// planNamedConfigs plans settings of a subscription to client metrics or of a group.
func (b *Broker) planNamedConfigs(image *metadata.Image, r *configResource) (*metadata.SetConfigs, *metadata.Error) {
	if r.name == "" {
		return nil, configError(protocol.InvalidRequest, "The resource must have a name.")
	}
	kind, table, _ := namedConfigKind(r.kind)
	find := func(name string) *namedConfig {
		for i := range table {
			if table[i].name == name {
				return &table[i]
			}
		}
		return nil
	}
	have, _ := image.NamedConfigs(kind, r.name)
	next, set, refused := r.apply(have, func(name string) (string, bool) {
		d := find(name)
		return "", d != nil && d.kind == TypeList
	})
	if refused != nil {
		return nil, refused
	}
	for _, c := range r.changes {
		d := find(c.name)
		if d == nil {
			return nil, configError(protocol.InvalidConfig, "Unknown configuration %s", c.name)
		}
		if value, ok := next[c.name]; ok {
			if wrong := d.validate(value); wrong != "" {
				return nil, configError(protocol.InvalidConfig, "%s", wrong)
			}
		}
	}
	if kind == metadata.ConfigGroup {
		if wrong := b.checkGroupTimes(image, next); wrong != "" {
			return nil, configError(protocol.InvalidConfig, "%s", wrong)
		}
	}
	return &metadata.SetConfigs{Resource: kind, Name: r.name, Set: set}, nil
}

// Loggers: Kafka's brokers have one for each class; here is one, and its level is the setting log.level.
const (
	rootLogger    = "root"
	levelSetting  = "log.level"
	loggerMessage = "Logger %s does not exist!"
)

func (k *call) loggerConfigs(image *metadata.Image, r *kmsg.DescribeConfigsRequestResource, _ *kmsg.DescribeConfigsRequest) ([]kmsg.DescribeConfigsResponseResourceConfig, protocol.Code, string) {
	if r.ResourceName != strconv.Itoa(int(k.b.opts.NodeID)) {
		return nil, protocol.InvalidRequest, "Unexpected broker id, expected " + strconv.Itoa(int(k.b.opts.NodeID)) + " but received " + r.ResourceName
	}
	level, ok := k.b.setting(image, levelSetting)
	if !ok || !wanted(r.ConfigNames, rootLogger) {
		return nil, protocol.None, ""
	}
	level = strings.ToUpper(level)
	c := kmsg.NewDescribeConfigsResponseResourceConfig()
	c.Name, c.Value, c.Source, c.ConfigType = rootLogger, &level, sourceLogger, kmsg.ConfigType(TypeString)
	return []kmsg.DescribeConfigsResponseResourceConfig{c}, protocol.None, ""
}

// planLoggerConfigs plans log.level of a broker from the level of its root logger.
func (b *Broker) planLoggerConfigs(image *metadata.Image, r *configResource) (*metadata.SetConfigs, *metadata.Error) {
	id, err := strconv.ParseInt(r.name, 10, 32)
	if _, known := image.Broker(int32(id)); err != nil || !known { //nolint:gosec // 32 bits
		return nil, configError(protocol.InvalidRequest, "Node id must be that of a broker, but it is: %s", r.name)
	}
	set := map[string]*string{}
	for _, c := range r.changes {
		if c.name != rootLogger {
			return nil, configError(protocol.InvalidConfig, loggerMessage, c.name)
		}
		switch c.op {
		case kmsg.IncrementalAlterConfigOpSet:
			level := strings.ToLower(*c.value)
			switch level {
			case "trace":
				level = "debug"
			case "fatal":
				level = "error"
			}
			if err := b.validateSetting(levelSetting, level); err != nil {
				return nil, configError(protocol.InvalidConfig, "Cannot set the log level of logger %s to %s as it is not a supported log level", c.name, *c.value)
			}
			set[levelSetting] = &level
		case kmsg.IncrementalAlterConfigOpDelete:
			set[levelSetting] = nil
		case kmsg.IncrementalAlterConfigOpAppend, kmsg.IncrementalAlterConfigOpSubtract:
			return nil, configError(protocol.InvalidRequest, "%s operation is not allowed for the BROKER_LOGGER resource", strings.ToUpper(c.op.String()))
		}
	}
	return &metadata.SetConfigs{Resource: metadata.ConfigBroker, Node: int32(id), Set: set}, nil //nolint:gosec // 32 bits
}
