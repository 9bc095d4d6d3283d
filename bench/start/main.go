package main

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"syscall"
	"time"

	"github.com/stelemq/stele/client"
)

func main() {
	broker := flag.String("broker", "bin/broker", "the program")
	dir := flag.String("dir", "", "data directory; must not exist")
	address := flag.String("address", "127.0.0.1:21092", "Kafka address to listen on")
	gib := flag.Int("gib", 10, "bytes to fill, in GiB")
	parts := flag.Int("partitions", 8, "partitions")
	rounds := flag.Int("rounds", 3, "starts after kill -9, and after a clean stop")
	flush := flag.String("flush", "1", "flush.messages of the topic: 1 = durable")
	flag.Parse()
	if err := run(*broker, *dir, *address, *gib, *parts, *rounds, *flush); err != nil {
		fmt.Fprintln(os.Stderr, "startbench:", err)
		os.Exit(1)
	}
}

func run(broker, dir, address string, gib, parts, rounds int, flush string) error {
	if _, err := os.Stat(dir); dir == "" || err == nil {
		return fmt.Errorf("-dir %q must be a path that does not exist", dir)
	}
	ctx := context.Background()
	start := func() (*exec.Cmd, error) {
		c := exec.Command(broker, "start", "--set", "log.dirs="+dir, "--set", "listeners=PLAINTEXT://"+address,
			"--set", "log.flush.interval.messages="+flush)
		c.Stderr = os.Stderr
		return c, c.Start()
	}
	cmd, err := start()
	if err != nil {
		return err
	}
	if err := fill(ctx, address, gib, parts); err != nil {
		return err
	}
	for i := range 2 * rounds {
		how, sig := "kill -9", syscall.SIGKILL
		if i >= rounds {
			how, sig = "clean stop", syscall.SIGTERM
		}
		if err := cmd.Process.Signal(sig); err != nil {
			return err
		}
		_ = cmd.Wait()
		began := time.Now()
		if cmd, err = start(); err != nil {
			return err
		}
		if err := first(ctx, address); err != nil {
			return err
		}
		fmt.Fprintf(os.Stdout, "%s: first acknowledged record after %v\n", how, time.Since(began).Round(time.Millisecond))
		if err := fill(ctx, address, 0, parts); err != nil { // so that the next kill finds news
			return err
		}
	}
	_ = cmd.Process.Signal(syscall.SIGTERM)
	_ = cmd.Wait()
	return nil
}

const topic = "fill"

// fill writes the given amount, at least 64 MiB.
func fill(ctx context.Context, address string, gib, parts int) error {
	c, err := connect(ctx, address)
	if err != nil {
		return err
	}
	defer c.Close() //nolint:errcheck // nothing to be done about it
	_, _ = c.CreateTopics(ctx, []client.NewTopic{{Name: topic, Partitions: parts}}, false)
	p, err := c.NewProducer(client.ProducerOptions{})
	if err != nil {
		return err
	}
	value := make([]byte, 16<<10)
	for i := range value {
		value[i] = byte(rand.Uint32()) //nolint:gosec // incompressible, not secret
	}
	total := max(int64(gib)<<30, 64<<20)
	var failed error
	for n := int64(0); n < total; n += int64(len(value)) {
		err := p.Produce(ctx, &client.Record{Topic: topic, Key: fmt.Append(nil, n), Value: value}, func(d client.Delivery) {
			if d.Err != nil {
				failed = d.Err
			}
		})
		if err != nil {
			return err
		}
	}
	if err := p.Close(ctx); err != nil {
		return err
	}
	return failed
}

func connect(ctx context.Context, address string) (*client.Client, error) {
	for deadline := time.Now().Add(20 * time.Second); ; {
		c, err := client.New(client.Options{Bootstrap: []string{address}})
		if err == nil {
			if _, err = c.BrokerConfigs(ctx, 1); err == nil {
				return c, nil
			}
			_ = c.Close()
		}
		if time.Now().After(deadline) {
			return nil, err
		}
		<-time.After(2 * time.Millisecond)
	}
}

// first tries until a record is acknowledged.
func first(ctx context.Context, address string) error {
	deadline := time.Now().Add(60 * time.Second)
	for {
		err := once(ctx, address)
		if err == nil || time.Now().After(deadline) {
			return err
		}
		<-time.After(2 * time.Millisecond)
	}
}

func once(ctx context.Context, address string) error {
	c, err := client.New(client.Options{Bootstrap: []string{address}})
	if err != nil {
		return err
	}
	defer c.Close() //nolint:errcheck // nothing to be done about it
	p, err := c.NewProducer(client.ProducerOptions{})
	if err != nil {
		return err
	}
	defer p.Close(ctx) //nolint:errcheck // nothing to be done about it
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	_, err = p.ProduceSync(ctx, &client.Record{Topic: topic, Value: []byte("first")})
	return err
}
