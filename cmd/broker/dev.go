package main

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/stelemq/stele/internal/config"
)

// dev is the program without a command: a broker for development.
type dev struct {
	streams
	configFlags
}

func devCommand(s streams) *dev { return &dev{streams: s} }

func (d *dev) addFlags(flags *pflag.FlagSet) {
	d.configFlags.addFlags(flags, false)
	d.addPort(flags)
}

func (d *dev) run(cmd *cobra.Command, _ []string) error {
	c, err := d.load(true)
	if err != nil {
		return err
	}
	warn(d.streams, c)
	moved := ""
	if c.Origins["http.listen"].Source == config.SourceDefault {
		c.HTTPListen, moved = freeAddress(c.HTTPListen)
	}
	n := &node{config: c, streams: d.streams, remedy: devRemedy(c), banner: func(n *node) { devBanner(n, moved) }}
	return n.run(cmd.Context())
}

// devRemedy is what to do about a busy port: take one that is likely to be free.
func devRemedy(c *config.Config) string {
	port := 9092
	if open := c.Open(); len(open) == 1 {
		port = open[0].Port
	}
	return fmt.Sprintf("run `broker --port %d`", port+100)
}

// freeAddress moves to the next free port where the address is in use, and says so.
func freeAddress(address string) (free, moved string) {
	hostname, portText, err := net.SplitHostPort(address)
	if err != nil {
		return address, ""
	}
	port, err := strconv.Atoi(portText)
	if err != nil {
		return address, ""
	}
	const tries = 100
	for next := port; next < port+tries && next < 65536; next++ {
		candidate := net.JoinHostPort(hostname, strconv.Itoa(next))
		l, err := net.Listen("tcp", candidate) //nolint:noctx // closed at once
		if err == nil {
			_ = l.Close()
			if next != port {
				moved = fmt.Sprintf(" (port %d is in use)", port)
			}
			return candidate, moved
		}
		if !errors.Is(err, syscall.EADDRINUSE) {
			break
		}
	}
	return address, ""
}

// devBanner tells a newcomer what runs and what to do next.
func devBanner(n *node, moved string) {
	address := n.broker.Addr("").String()
	try := "producer -t hello   then: consumer -t hello --from-beginning"
	if _, port, err := net.SplitHostPort(address); err == nil && port != "9092" {
		try = fmt.Sprintf("producer -b %s -t hello   then: consumer -b %s -t hello --from-beginning", address, address)
	}
	metrics := "off"
	if a := n.broker.HTTPAddr(); a != nil {
		metrics = "http://" + a.String() + "/metrics" + moved
	}
	fmt.Fprintf(n.err, `stele %s, a broker for development
Kafka    %s
Data     %s
Metrics  %s
Try      %s
Ctrl-C to stop (data is kept)
`, thisBuild().Version, address, n.config.LogDirs[0], metrics, try)
}
