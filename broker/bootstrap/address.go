package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"syscall"
)

// Listening says where a node wants its Raft address.
type Listening struct {
	// Listen and Advertise are cluster.listen and cluster.advertised.address; "" or "auto": found out.
	Listen, Advertise string
	// ClientHost and ClientPort are those of the first listener for clients, AdvertisedHost what it advertises, if anything.
	ClientHost     string
	ClientPort     int
	AdvertisedHost string
}

// portDistance is how far the Raft port lies above that of clients if nobody says otherwise.
const portDistance = 100

func auto(s string) bool { return s == "" || s == "auto" }

// Bind opens the Raft address. What the settings name must be free; found out by itself, it moves to a free port, and
// stays there over restarts. Without an address, the error says why there is none: a node alone can go on without.
func (s *State) Bind(ctx context.Context, w Listening) (net.Listener, error) {
	var config net.ListenConfig
	if !auto(w.Listen) {
		return s.bind(ctx, &config, w.Listen)
	}
	if own, ok := s.Own(); ok {
		l, err := s.bind(ctx, &config, own.Address)
		if err == nil || !notHere(err) {
			return l, err
		}
		// The name by which the others know this host is not an address of it: it is behind a translation.
		_, port, splitErr := net.SplitHostPort(own.Address)
		if splitErr != nil {
			return nil, err
		}
		return s.bind(ctx, &config, net.JoinHostPort("", port))
	}
	var tries []string
	if host, _, err := net.SplitHostPort(s.Listen()); err == nil && host == w.ClientHost {
		tries = append(tries, s.Listen())
	}
	if port := w.ClientPort + portDistance; w.ClientPort != 0 && port < 65536 {
		tries = append(tries, net.JoinHostPort(w.ClientHost, strconv.Itoa(port)))
	}
	tries = append(tries, net.JoinHostPort(w.ClientHost, "0"))
	var err error
	for _, a := range tries {
		var l net.Listener
		if l, err = config.Listen(ctx, "tcp", a); err == nil {
			_, port, splitErr := net.SplitHostPort(l.Addr().String())
			if splitErr == nil {
				s.SetListen(net.JoinHostPort(w.ClientHost, port))
			}
			return l, nil
		}
	}
	return nil, fmt.Errorf("listen on a Raft address: %w", err)
}

func (s *State) bind(ctx context.Context, config *net.ListenConfig, address string) (net.Listener, error) {
	l, err := config.Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen on the Raft address: %w", err)
	}
	return l, nil
}

// notHere reports whether an address could not be bound because it is no address of this host.
func notHere(err error) bool {
	var dns *net.DNSError
	return errors.Is(err, syscall.EADDRNOTAVAIL) || errors.As(err, &dns)
}

// Advertised is the Raft address that the other nodes are told, for one that is bound.
func (s *State) Advertised(w Listening, bound net.Addr) string {
	if !auto(w.Advertise) {
		return w.Advertise
	}
	if own, ok := s.Own(); ok {
		return own.Address
	}
	_, port, err := net.SplitHostPort(bound.String())
	if err != nil {
		return bound.String()
	}
	host := w.AdvertisedHost
	if host == "" && !auto(w.Listen) {
		host, _, _ = net.SplitHostPort(w.Listen)
	}
	if host == "" {
		host = w.ClientHost
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		if name, err := os.Hostname(); err == nil {
			host = name
		}
	}
	return net.JoinHostPort(host, port)
}
