package compat

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Settings of the suite.
const (
	envBootstrap = "STELE_COMPAT_BOOTSTRAP"
	envData      = "STELE_COMPAT_DATA"
	envCrash     = "STELE_COMPAT_CRASH"
)

// target is the broker under test: ours, started here, or any other that was named by the environment.
type target struct {
	bootstrap string
	data      string // its log directory; "" if unknown
	crash     string // a command that kills and restarts a foreign broker; "" if none

	building sync.Mutex
	built    map[string]string // our programs, by name; guarded by building

	// Only for a broker that was started here.
	bin  string
	root string
	log  *os.File
	cmd  *exec.Cmd
	exit chan error // receives the result of cmd.Wait once
}

// ours says whether the broker was started here.
func (b *target) ours() bool { return b.bin != "" }

func openTarget(ctx context.Context) (*target, error) {
	if addr := os.Getenv(envBootstrap); addr != "" {
		b := &target{bootstrap: addr, data: os.Getenv(envData), crash: os.Getenv(envCrash)}
		return b, b.await(ctx)
	}
	repo, err := repository()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "stele-compat-")
	if err != nil {
		return nil, err
	}
	b := &target{root: dir, data: filepath.Join(dir, "data"), bin: filepath.Join(dir, "broker")}
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", b.bin, "./cmd/broker")
	build.Dir = repo
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build ./cmd/broker: %w\n%s", err, out)
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	b.bootstrap = net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	if b.log, err = os.Create(filepath.Join(dir, "broker.log")); err != nil {
		return nil, err
	}
	return b, b.start(ctx)
}

// start starts our broker on its data and waits until it answers.
func (b *target) start(ctx context.Context) error {
	b.cmd = exec.Command(b.bin, "start",
		"--set", "node.id=1",
		"--set", "http.listen=off",
		"--set", "listeners=PLAINTEXT://"+b.bootstrap,
		"--set", "log.dirs="+b.data,
		"--set", "num.partitions=3",
		"--set", "group.initial.rebalance.delay.ms=0",
		"--set", "log.cleaner.backoff.ms=100",
		// So that rebalances do not take the seconds that they take with the defaults.
		"--set", "group.consumer.min.heartbeat.interval.ms=300",
		"--set", "group.consumer.heartbeat.interval.ms=300")
	b.cmd.Dir = b.root
	b.cmd.Stdout, b.cmd.Stderr = b.log, b.log
	b.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := b.cmd.Start(); err != nil {
		return err
	}
	b.exit = make(chan error, 1)
	go func(cmd *exec.Cmd, exit chan<- error) { exit <- cmd.Wait() }(b.cmd, b.exit)
	if err := b.await(ctx); err != nil {
		return fmt.Errorf("%w\n%s", err, b.tail())
	}
	return nil
}

// await waits until the broker answers a Kafka request.
func (b *target) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	cl, err := kgo.NewClient(kgo.SeedBrokers(b.bootstrap), kgo.RetryTimeout(50*time.Millisecond))
	if err != nil {
		return err
	}
	defer cl.Close()
	for {
		try, stop := context.WithTimeout(ctx, time.Second)
		err := cl.Ping(try)
		stop()
		if err == nil {
			return nil
		}
		select {
		case got := <-b.exit:
			b.exit <- got
			return fmt.Errorf("the broker ended before it was ready: %w", got)
		case <-ctx.Done():
			return fmt.Errorf("no broker at %s: %w", b.bootstrap, err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// errCannotCrash says that a foreign broker came without a command that kills it.
var errCannotCrash = errors.New("set " + envCrash + " to a command that kills the broker with -9 and restarts it")

// crashAndRestart ends the broker with SIGKILL and starts it again on its data.
func (b *target) crashAndRestart(ctx context.Context) error {
	if !b.ours() {
		if b.crash == "" {
			return errCannotCrash
		}
		if out, err := exec.CommandContext(ctx, "bash", "-c", b.crash).CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w\n%s", b.crash, err, out)
		}
		return b.await(ctx)
	}
	if err := b.cmd.Process.Kill(); err != nil {
		return err
	}
	select {
	case <-b.exit: //nolint:errcheck // killed, as asked
	case <-ctx.Done():
		return ctx.Err()
	}
	return b.start(ctx)
}

// close stops our broker in an orderly way and returns the code to exit with: the given one, or 1 if the
// broker failed by itself or does not stop. After a failure its data and log stay.
func (b *target) close(code int) int {
	if !b.ours() {
		return code
	}
	fail := func(format string, args ...any) {
		fmt.Fprintf(os.Stderr, "compat: "+format+"\n", args...)
		code = max(code, 1)
	}
	select {
	case err := <-b.exit:
		fail("the broker ended by itself: %v", err)
	default:
		if err := b.cmd.Process.Signal(syscall.SIGTERM); err != nil {
			fail("stop the broker: %v", err)
		}
		select {
		case err := <-b.exit:
			if err != nil {
				fail("the broker ended badly after SIGTERM: %v", err)
			}
		case <-time.After(20 * time.Second):
			fail("the broker still runs 20 s after SIGTERM")
			_ = b.cmd.Process.Kill()
		}
	}
	_ = b.log.Close()
	if code != 0 {
		fmt.Fprintf(os.Stderr, "compat: broker log and data kept in %s; the end of the log:\n%s\n", b.root, b.tail())
		return code
	}
	_ = os.RemoveAll(b.root)
	return code
}

// tail returns the last part of our broker's log.
func (b *target) tail() string {
	text, err := os.ReadFile(b.log.Name())
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-4000):])
}

// repository returns the root of this repository: the tests run two levels below it.
func repository() (string, error) { return filepath.Abs("../..") }

// freePort returns a port of 127.0.0.1 that nobody listens on. It lies below the range from which the kernel takes
// the ports of clients: there, a client that waits for the broker to come back might connect to itself and keep the
// broker from listening.
func freePort() (int, error) {
	var err error
	for range 100 {
		port := 20_000 + rand.IntN(12_000)
		var l net.Listener
		if l, err = net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port))); err == nil {
			return port, l.Close()
		}
	}
	return 0, err
}
