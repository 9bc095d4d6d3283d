package telemetry

import (
	"errors"
	"math"

	"google.golang.org/protobuf/encoding/protowire"
)

// ErrMalformed: the bytes are no metrics in OpenTelemetry's format.
var ErrMalformed = errors.New("telemetry: malformed metrics")

// Fields of opentelemetry/proto/metrics/v1/metrics.proto that are read.
const (
	fieldResourceMetrics = 1 // MetricsData
	fieldScopeMetrics    = 2 // ResourceMetrics
	fieldMetrics         = 2 // ScopeMetrics
	fieldName            = 1 // Metric
	fieldGauge           = 5
	fieldSum             = 7
	fieldDataPoints      = 1 // Gauge, Sum
	fieldAsDouble        = 4 // NumberDataPoint
	fieldAsInt           = 6
)

// Decode reads the numbers of a payload, by the name of the metric; its data points are summed up. At most most metrics are
// returned. Errors: ErrMalformed.
func Decode(payload []byte, most int) (map[string]float64, error) {
	out := map[string]float64{}
	err := each(payload, fieldResourceMetrics, func(resource []byte) error {
		return each(resource, fieldScopeMetrics, func(scope []byte) error {
			return each(scope, fieldMetrics, func(metric []byte) error {
				name, value, ok, err := number(metric)
				if _, known := out[name]; err == nil && ok && (known || len(out) < most) {
					out[name] += value
				}
				return err
			})
		})
	})
	return out, err
}

// number reads a metric; ok is false where it is no number.
func number(metric []byte) (name string, value float64, ok bool, err error) {
	err = fields(metric, func(field protowire.Number, _ uint64, bytes []byte) error {
		if field == fieldName {
			name = string(bytes)
		}
		if field == fieldGauge || field == fieldSum {
			return each(bytes, fieldDataPoints, func(point []byte) error {
				return fields(point, func(field protowire.Number, bits uint64, _ []byte) error {
					if field == fieldAsDouble {
						value, ok = value+math.Float64frombits(bits), true
					}
					if field == fieldAsInt {
						value, ok = value+float64(int64(bits)), true //nolint:gosec // signed on the wire
					}
					return nil
				})
			})
		}
		return nil
	})
	return name, value, ok && name != "", err
}

// each calls f with every message in one field.
func each(message []byte, wanted protowire.Number, f func([]byte) error) error {
	return fields(message, func(field protowire.Number, _ uint64, bytes []byte) error {
		if field != wanted || bytes == nil {
			return nil
		}
		return f(bytes)
	})
}

// fields calls f with every field of a message: with its bits where it is a number, with its bytes where it has a length.
func fields(message []byte, f func(field protowire.Number, bits uint64, bytes []byte) error) error {
	for len(message) > 0 {
		field, kind, n := protowire.ConsumeTag(message)
		if n < 0 {
			return ErrMalformed
		}
		message = message[n:]
		var bits uint64
		var bytes []byte
		switch kind {
		case protowire.VarintType:
			bits, n = protowire.ConsumeVarint(message)
		case protowire.Fixed64Type:
			bits, n = protowire.ConsumeFixed64(message)
		case protowire.BytesType:
			bytes, n = protowire.ConsumeBytes(message)
			if bytes == nil {
				bytes = []byte{}
			}
		default:
			n = protowire.ConsumeFieldValue(field, kind, message)
		}
		if n < 0 {
			return ErrMalformed
		}
		message = message[n:]
		if err := f(field, bits, bytes); err != nil {
			return err
		}
	}
	return nil
}
