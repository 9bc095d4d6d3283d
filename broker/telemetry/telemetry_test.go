package telemetry

import (
	"errors"
	"math"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

func message(field protowire.Number, bytes ...[]byte) []byte {
	var body []byte
	for _, b := range bytes {
		body = append(body, b...)
	}
	return protowire.AppendBytes(protowire.AppendTag(nil, field, protowire.BytesType), body)
}

func double(v float64) []byte {
	return protowire.AppendFixed64(protowire.AppendTag(nil, fieldAsDouble, protowire.Fixed64Type), math.Float64bits(v))
}

func integer(v uint64) []byte {
	return protowire.AppendFixed64(protowire.AppendTag(nil, fieldAsInt, protowire.Fixed64Type), v)
}

// payload are metrics as clients send them.
func payload(metrics ...[]byte) []byte {
	var all [][]byte
	for _, m := range metrics {
		all = append(all, message(fieldMetrics, m))
	}
	return message(fieldResourceMetrics, message(fieldScopeMetrics, all...))
}

func metric(name string, kind protowire.Number, points ...[]byte) []byte {
	var all [][]byte
	for _, p := range points {
		all = append(all, message(fieldDataPoints, p))
	}
	return append(message(fieldName, []byte(name)), message(kind, all...)...)
}

func TestDecode(t *testing.T) {
	p := payload(metric("a", fieldGauge, double(1.5)), metric("b", fieldSum, integer(2), integer(3)), metric("c", 9, double(1)))
	got, err := Decode(p, 10)
	if err != nil || len(got) != 2 || got["a"] != 1.5 || got["b"] != 5 {
		t.Errorf("%v %v", got, err)
	}
	if got, err := Decode(p, 1); err != nil || len(got) != 1 {
		t.Errorf("bounded: %v %v", got, err)
	}
	for n := 1; n < len(p); n++ {
		if _, err := Decode(p[:n], 10); !errors.Is(err, ErrMalformed) {
			t.Fatalf("cut at %d: %v", n, err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(payload(metric("a", fieldGauge, double(1.5))))
	f.Fuzz(func(_ *testing.T, b []byte) { _, _ = Decode(b, 10) })
}

func TestFor(t *testing.T) {
	all := []Subscription{
		{Metrics: []string{"p.", "c."}, Interval: time.Minute, Match: map[string]string{"client_id": "app-.*"}},
		{Metrics: []string{"c."}, Interval: time.Second, Match: map[string]string{"client_id": ".*", "client_software_name": "x"}},
	}
	one := For(Client{1}, map[string]string{"client_id": "app-1", "client_software_name": "x"}, all)
	if len(one.Metrics) != 2 || one.Interval != time.Second {
		t.Errorf("%+v", one)
	}
	if other := For(Client{2}, map[string]string{"client_id": "app-1", "client_software_name": "x"}, all); other.ID == one.ID {
		t.Error("two clients have one subscription id")
	}
	if none := For(Client{1}, map[string]string{"client_id": "my-app-1"}, all); len(none.Metrics) != 0 || none.Interval != DefaultInterval {
		t.Errorf("%+v", none)
	}
}

func TestStore_IsBoundedAndForgets(t *testing.T) {
	s, now := NewStore(), time.Unix(1000, 0)
	for i := range ClientsMax + 1 {
		if ok := s.Put(Client{byte(i), byte(i >> 8)}, "c", map[string]float64{"m": 1}, now, time.Minute); ok != (i < ClientsMax) {
			t.Errorf("client %d: %v", i, ok)
		}
	}
	s.Drop(Client{0})
	if n := len(s.Samples(now)); n != ClientsMax-1 {
		t.Errorf("%d samples", n)
	}
	if n := len(s.Samples(now.Add(2 * time.Minute))); n != 0 {
		t.Errorf("%d samples are kept for ever", n)
	}
}
