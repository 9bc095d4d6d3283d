package main

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stelemq/stele/client"
)

// devBrokers starts a development cluster of three and returns its addresses.
func devBrokers(t *testing.T) []string {
	t.Helper()
	t.Setenv(envAsProgram, "1")
	t.Chdir(t.TempDir())
	up := command(t, "dev", "-n", "3", "--port", strconv.Itoa(quietPort(t)), "--set", "storage.reject.percent=0")
	t.Cleanup(func() { command(t, "dev", "stop", "--purge") })
	if up.code != 0 {
		t.Fatalf("%+v", up)
	}
	return strings.Split(strings.TrimSpace(up.out), ",")
}

// A producer that has to do with a leader that dies goes on with the next one; and without a majority it says so in time.
func TestFailover_ProducerFollowsTheLeader(t *testing.T) {
	brokers := devBrokers(t)
	if r := command(t, "topic", "create", "events", "-r", "3"); r.code != 0 {
		t.Fatalf("%+v", r)
	}
	c, err := client.New(client.Options{Bootstrap: brokers})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	topic, err := c.WaitTopic(t.Context(), "events", false)
	if err != nil {
		t.Fatal(err)
	}
	p, err := c.NewProducer(client.ProducerOptions{DeliveryTimeout: 20 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	send := func(i int) time.Duration {
		t.Helper()
		began := time.Now()
		d, err := p.ProduceSync(t.Context(), &client.Record{Topic: "events", Value: []byte(strconv.Itoa(i))})
		if err != nil || d.Offset != int64(i) {
			t.Fatalf("record %d: %+v, %v", i, d, err)
		}
		return time.Since(began)
	}
	send(0)
	if r := command(t, "dev", "kill", strconv.Itoa(int(topic.Partitions[0].Leader))); r.code != 0 {
		t.Fatalf("%+v", r)
	}
	pause := send(1)
	t.Logf("the pause was %s", pause)
	if pause > 3*time.Second {
		t.Errorf("the pause was %s, more than 3 s", pause)
	}
	send(2)
	got := command(t, "cluster", "health")
	if got.code != exitFinding || !strings.Contains(got.out, "unhealthy") || !strings.Contains(got.out, "REMEDY") {
		t.Errorf("health with a broker down: %+v", got)
	}
	next, err := c.Topic(t.Context(), "events")
	if err != nil {
		t.Fatal(err)
	}
	if r := command(t, "dev", "kill", strconv.Itoa(int(next.Partitions[0].Leader))); r.code != 0 {
		t.Fatalf("%+v", r)
	}
	short, err := c.NewProducer(client.ProducerOptions{DeliveryTimeout: 4 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	_, err = short.ProduceSync(t.Context(), &client.Record{Topic: "events", Value: []byte("x")})
	if want := "events-0 has no leader: 1 of 3 replicas reachable, 2 needed"; !errors.Is(err, client.ErrNoLeader) || !strings.Contains(err.Error(), want) {
		t.Errorf("without a majority: %v, want %q", err, want)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if err := errors.Join(short.Close(ctx), p.Close(ctx)); err != nil {
		t.Error(err)
	}
}
