package config

import (
	"fmt"
	"net"
	"strconv"
	"strings"
)

// Listener is one item of listeners or advertised.listeners.
type Listener struct {
	Name string
	Host string
	Port int
}

// Address is host:port.
func (l Listener) Address() string { return net.JoinHostPort(l.Host, strconv.Itoa(l.Port)) }

// ParseListener reads NAME://host:port; the host may be empty, an IPv6 address stands in brackets.
func ParseListener(text string) (Listener, error) {
	name, address, ok := strings.Cut(text, "://")
	if !ok || name == "" {
		return Listener{}, fmt.Errorf("%q: want NAME://host:port, as in PLAINTEXT://127.0.0.1:9092", text)
	}
	host, portText, err := net.SplitHostPort(address)
	if err != nil {
		return Listener{}, fmt.Errorf("%q: want NAME://host:port, as in PLAINTEXT://127.0.0.1:9092", text)
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil {
		return Listener{}, fmt.Errorf("%q: the port is a number up to 65535", text)
	}
	return Listener{Name: strings.ToUpper(name), Host: host, Port: int(port)}, nil //nolint:gosec // 16 bits
}

// Open are the listeners to open. The settings have been validated.
func (s *Settings) Open() []Listener {
	var open []Listener
	for _, text := range s.Listeners {
		l, err := ParseListener(text)
		if err == nil && !s.isController(l.Name) {
			open = append(open, l)
		}
	}
	return open
}

// Advertised finds what is advertised for a listener; false if nothing is said.
func (s *Settings) Advertised(name string) (Listener, bool) {
	for _, text := range s.AdvertisedListeners {
		if l, err := ParseListener(text); err == nil && l.Name == name {
			return l, true
		}
	}
	return Listener{}, false
}

func (s *Settings) isController(name string) bool {
	for _, c := range s.ControllerListeners {
		if strings.EqualFold(c, name) {
			return true
		}
	}
	return false
}
