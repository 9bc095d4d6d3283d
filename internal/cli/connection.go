package cli

import (
	"strings"
	"time"

	"github.com/spf13/pflag"
)

// DefaultBootstrap is where a broker on this machine listens.
const DefaultBootstrap = "localhost:9092"

// DefaultTimeout is how long a command waits for a broker.
const DefaultTimeout = 5 * time.Second

// Connection is where the cluster is, from flags.
type Connection struct {
	Brokers string
	Timeout time.Duration
}

// AddFlags adds --brokers (-b), its names in Kafka's tools, and --timeout.
func (c *Connection) AddFlags(f *pflag.FlagSet) {
	def := DefaultBrokers()
	f.StringVarP(&c.Brokers, "brokers", "b", def, "brokers to begin with, `host:port,...`")
	for _, alias := range []string{"bootstrap-server", "broker-list"} {
		f.StringVar(&c.Brokers, alias, def, "the same as --brokers")
		_ = f.MarkHidden(alias)
	}
	f.DurationVar(&c.Timeout, "timeout", DefaultTimeout, "how long to wait for a broker")
}

// Bootstrap is the list of addresses, with Kafka's port where none is given.
func (c *Connection) Bootstrap() []string {
	var out []string
	for addr := range strings.SplitSeq(c.Brokers, ",") {
		if addr = strings.TrimSpace(addr); addr == "" {
			continue
		}
		if !strings.Contains(addr, ":") {
			addr += ":9092"
		}
		out = append(out, addr)
	}
	return out
}
