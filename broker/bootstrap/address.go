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

// Bind opens the Raft address and returns what the other nodes are told of it. What the settings name must be free; found
// out by itself, it moves to a free port. What was used last is used again where the settings say nothing.
func (s *State) Bind(ctx context.Context, w Listening) (l net.Listener, advertised string, err error) {
	var config net.ListenConfig
	own, founder := s.Own()
	used := s.bound()
	switch {
	case !auto(w.Listen):
		l, err = s.bind(ctx, &config, w.Listen)
	case founder:
		if l, err = s.bind(ctx, &config, own.Address); err != nil && notHere(err) {
			// The name by which the others know this host is not an address of it: it is behind a translation.
			if _, port, splitErr := net.SplitHostPort(own.Address); splitErr == nil {
				l, err = s.bind(ctx, &config, net.JoinHostPort("", port))
			}
		}
	default:
		return s.bindAnywhere(ctx, w, used)
	}
	if err != nil {
		return nil, "", err
	}
	advertised = s.advertised(w, l.Addr())
	s.setBound(bound{Listen: withPort(w.Listen, own.Address, l), Advertised: advertised, Named: true})
	return l, advertised, nil
}

// withPort is the address to bind again.
func withPort(listen, own string, l net.Listener) string {
	if auto(listen) {
		return own
	}
	host, _, err := net.SplitHostPort(listen)
	_, port, boundErr := net.SplitHostPort(l.Addr().String())
	if err != nil || boundErr != nil {
		return listen
	}
	return net.JoinHostPort(host, port)
}

func (s *State) bindAnywhere(ctx context.Context, w Listening, used bound) (net.Listener, string, error) {
	var config net.ListenConfig
	var tries []string
	if host, _, err := net.SplitHostPort(used.Listen); err == nil && (used.Named || host == w.ClientHost) {
		tries = append(tries, used.Listen)
	}
	if port := w.ClientPort + portDistance; w.ClientPort != 0 && port < 65536 {
		tries = append(tries, net.JoinHostPort(w.ClientHost, strconv.Itoa(port)))
	}
	tries = append(tries, net.JoinHostPort(w.ClientHost, "0"))
	var err error
	for _, a := range tries {
		var l net.Listener
		if l, err = config.Listen(ctx, "tcp", a); err != nil {
			continue
		}
		if a == used.Listen && used.Named && auto(w.Advertise) {
			return l, used.Advertised, nil
		}
		advertised := s.advertised(w, l.Addr())
		s.setBound(bound{Listen: withPort(net.JoinHostPort(w.ClientHost, "0"), "", l), Advertised: advertised})
		return l, advertised, nil
	}
	return nil, "", fmt.Errorf("listen on a Raft address: %w", err)
}

func (s *State) bound() bound {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.peers.Bound
}

func (s *State) setBound(b bound) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.peers.Bound = b
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

// advertised is the Raft address that the other nodes are told, for one that is bound.
func (s *State) advertised(w Listening, bound net.Addr) string {
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
