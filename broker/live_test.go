package broker

import (
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/stelemq/stele/protocol"
)

// alterBroker sets or, without a value, removes one setting of a broker, or of all.
func (c *testConn) alterBroker(name, key string, value ...string) protocol.Code {
	op := kmsg.IncrementalAlterConfigOpSet
	if len(value) == 0 {
		op = kmsg.IncrementalAlterConfigOpDelete
	}
	r := ask[*kmsg.IncrementalAlterConfigsResponse](c, &kmsg.IncrementalAlterConfigsRequest{
		Version: 1, Resources: []kmsg.IncrementalAlterConfigsRequestResource{{
			ResourceType: kmsg.ConfigResourceTypeBroker, ResourceName: name,
			Configs: []kmsg.IncrementalAlterConfigsRequestResourceConfig{change(key, op, value...)},
		}},
	})
	return protocol.Code(r.Resources[0].ErrorCode)
}

// What a broker says of itself is stronger than what is said of all, and either is stronger than its file.
func TestSettings_ChangeAtRunTime(t *testing.T) {
	var mu sync.Mutex
	var told []string
	b := startBroker(t, func(o *Options) {
		o.Config.MaxConnections = 100
		o.Config.Settings = []Setting{
			{Name: "max.connections", Type: TypeInt, Value: "100", Explicit: true, Dynamic: true},
			{Name: "log.level", Type: TypeString, Value: "info", Default: "info", Dynamic: true, Validate: func(v string) error {
				if v == "loud" {
					return errors.New("no such level")
				}
				return nil
			}},
			{Name: "min.insync.replicas", Type: TypeInt, Dynamic: true, ClusterOnly: true},
		}
		o.Live = map[string]func(string){"log.level": func(v string) {
			mu.Lock()
			defer mu.Unlock()
			told = append(told, v)
		}}
	})
	c := b.dial(t)
	for _, row := range []struct {
		broker, key, value string
		want               protocol.Code
	}{
		{"", "log.level", "debug", protocol.None},
		{"1", "log.level", "warn", protocol.None},
		{"", "log.level", "loud", protocol.InvalidRequest},
		{"", "log.level", "error", protocol.None}, // the broker's own is stronger
		{"1", "min.insync.replicas", "2", protocol.InvalidConfig},
		{"", "max.connections", "1", protocol.None},
	} {
		if got := c.alterBroker(row.broker, row.key, row.value); got != row.want {
			t.Errorf("%+v: %v", row, got)
		}
	}
	if got := c.alterBroker("1", "log.level"); got != protocol.None {
		t.Error(got)
	}
	mu.Lock()
	if want := []string{"info", "debug", "warn", "error"}; len(told) != len(want) || told[0] != want[0] || told[1] != want[1] || told[2] != want[2] || told[3] != want[3] {
		t.Errorf("told %q, want %q", told, want)
	}
	mu.Unlock()
	refused := func() bool {
		nc, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", b.Addr("").String())
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close() //nolint:errcheck // the test ends
		_ = nc.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
		_, err = nc.Read(make([]byte, 1))
		return errors.Is(err, io.EOF)
	}
	if !refused() {
		t.Error("a second connection is served although max.connections is 1")
	}
	if got := c.alterBroker("", "max.connections"); got != protocol.None {
		t.Error(got)
	}
	if refused() {
		t.Error("a second connection is refused although max.connections is back at 100")
	}
}
