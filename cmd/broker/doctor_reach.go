package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"

	"github.com/stelemq/stele/broker"
	"github.com/stelemq/stele/internal/config"
)

// reachMyselfTimeout bounds how long is waited for what this machine sends to its own advertised address.
const reachMyselfTimeout = 2 * time.Second

// examineReach looks whether what clients are told leads back here: it listens where the broker would and dials the
// advertised address. A name that nobody resolves, another machine's address and a port that is not forwarded are found; what
// only clients elsewhere would meet is not.
func examineReach(ctx context.Context, c *config.Config) []finding {
	var out []finding
	for _, l := range listenersOf(c) {
		x := finding{"advertised " + l.Name, findingOK, ""}
		address, err := reachMyself(ctx, l)
		switch {
		case address == "":
			continue // its port is not free, which is said already
		case err != nil: // a gateway need not let a machine reach itself
			x.Status, x.Detail = findingWarn, fmt.Sprintf("%s, which clients are told (advertised.listeners), %v", address, err)
		default:
			x.Detail = address + " leads here"
		}
		out = append(out, x)
	}
	return out
}

// reachMyself sends a word to what a listener advertises and waits for it at the listener. It returns the address, "" where the
// listener cannot be opened.
func reachMyself(ctx context.Context, listener broker.Listener) (advertised string, err error) {
	ctx, cancel := context.WithTimeout(ctx, reachMyselfTimeout)
	defer cancel()
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", listener.Address)
	if err != nil {
		return "", fmt.Errorf("listen: %w", err)
	}
	defer l.Close() //nolint:errcheck // nothing has been written
	host, port := listener.Advertises(l.Addr())
	advertised = net.JoinHostPort(host, strconv.Itoa(int(port)))
	word := rand.Text()
	heard := make(chan struct{})
	go awaitWord(l, word, heard)
	nc, err := (&net.Dialer{}).DialContext(ctx, "tcp", advertised)
	if err != nil {
		return advertised, fmt.Errorf("is not reached from here: %w", err)
	}
	defer nc.Close() //nolint:errcheck // a word was sent, no more
	if _, err := io.WriteString(nc, word); err != nil {
		return advertised, fmt.Errorf("is not reached from here: %w", err)
	}
	select {
	case <-heard:
		return advertised, nil
	case <-ctx.Done():
		return advertised, errors.New("is answered by something else")
	}
}

// awaitWord accepts connections until one says the word, or the listener is closed.
func awaitWord(l net.Listener, word string, heard chan<- struct{}) {
	for {
		nc, err := l.Accept()
		if err != nil {
			return
		}
		_ = nc.SetDeadline(time.Now().Add(reachMyselfTimeout))
		b := make([]byte, len(word))
		_, err = io.ReadFull(nc, b)
		_ = nc.Close()
		if err == nil && string(b) == word {
			close(heard)
			return
		}
	}
}
