package brokertest

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/stelemq/stele/broker"
	"github.com/stelemq/stele/broker/metadata"
	"github.com/stelemq/stele/dledger"
)

const startTimeout = 30 * time.Second

// Options say how the broker of a test differs from the usual one.
type Options struct {
	// Dir is the log directory; empty: one of the test's own.
	Dir string
	// Config changes the settings.
	Config func(*broker.Config)
	// DLedger changes the options of the log.
	DLedger func(*dledger.Options)
	// Broker changes the broker's options.
	Broker func(*broker.Options)
	// Logger takes the broker's and the log's messages; nil: nobody does.
	Logger *slog.Logger

	change func(*dledger.Options, *broker.Options)
}

// Broker is a broker with its logs, in this process, on a loopback port.
type Broker struct {
	*broker.Broker

	// Host runs the logs.
	Host *dledger.Host
	// Metadata is the cluster's metadata.
	Metadata *metadata.Machine
	// Dir is the log directory.
	Dir string

	stop func() error
}

// Start runs a broker and waits until it is ready; it ends with the test, or by Stop.
func Start(t testing.TB, o Options) *Broker {
	t.Helper()
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	b := open(t, o)
	select {
	case <-b.Ready():
	case <-time.After(startTimeout):
		t.Fatalf("broker is not ready after %s", startTimeout)
	}
	return b
}

// open runs a broker and does not wait.
func open(t testing.TB, o Options) *Broker {
	t.Helper()
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	machine := metadata.NewMachine()
	var b *broker.Broker
	ledger := dledger.Options{
		Dir: o.Dir, NodeID: 1, Logger: o.Logger, StateMachine: broker.StateMachine(machine),
		Damaged: func(spec dledger.PartitionSpec, err error) { b.Damaged(spec, err) },
	}
	options := broker.Options{
		NodeID: 1, Listeners: []broker.Listener{{Name: "PLAINTEXT", Address: "127.0.0.1:0"}},
		Metadata: machine, Config: broker.DefaultConfig(), Logger: o.Logger,
	}
	options.Config.ShutdownTimeout = 5 * time.Second
	if o.change != nil {
		o.change(&ledger, &options)
	}
	if o.DLedger != nil {
		o.DLedger(&ledger)
	}
	host, err := dledger.Open(context.Background(), ledger)
	if err != nil {
		t.Fatalf("open log: %v", err)
	}
	options.Host = broker.DLedger(host)
	if o.Config != nil {
		o.Config(&options.Config)
	}
	if o.Broker != nil {
		o.Broker(&options)
	}
	b, err = broker.New(options)
	if err != nil {
		t.Fatalf("new broker: %v", errors.Join(err, host.Close()))
	}
	ran := make(chan error, 1)
	go func() { ran <- b.Run(context.Background()) }()
	running := &Broker{Broker: b, Host: host, Metadata: machine, Dir: o.Dir}
	running.stop = sync.OnceValue(func() error {
		err := errors.Join(b.Close(), <-ran, host.Close())
		if ledger.Transport != nil {
			err = errors.Join(err, ledger.Transport.Close())
		}
		return err
	})
	t.Cleanup(func() {
		if err := running.stop(); err != nil {
			t.Errorf("stop broker: %v", err)
		}
	})
	return running
}

// Address is host:port for clients.
func (b *Broker) Address() string { return b.Addr("").String() }

// Stop ends the broker before the test does, in order.
func (b *Broker) Stop() error { return b.stop() }
