package load

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/stelemq/stele/bench/machine"
	"github.com/stelemq/stele/client"
)

// drainTimeout bounds the wait for what was sent when a run has ended.
const drainTimeout = 30 * time.Second

// ErrNothing: not one record was acknowledged, or read, while it was measured.
var ErrNothing = errors.New("nothing was acknowledged")

// worker is one thing that a run does until the context ends; it then waits for what it sent.
type worker func(ctx context.Context) error

// session is a run that is going on.
type session struct {
	target Target
	s      Scenario
	meter  *Meter
	admin  *client.Client
}

// Run makes a topic, puts the load on it and deletes the topic. meter, which must be new, shows what is going on. A result
// with errors of single records comes without error; Errors: ErrScenario, ErrNothing, those of the connection.
func Run(ctx context.Context, target Target, s Scenario, meter *Meter) (Result, error) {
	s, err := s.WithDefaults()
	if err != nil {
		return Result{}, err
	}
	admin, err := target.connect("bench-admin")
	if err != nil {
		return Result{}, err
	}
	defer admin.Close() //nolint:errcheck // nothing is pending
	r := &session{target, s, meter, admin}
	began := time.Now()
	if err := target.makeTopic(ctx, admin, &s); err != nil {
		return Result{}, err
	}
	made := time.Since(began)
	result, err := r.run(ctx)
	result.TopicSeconds = made.Seconds()
	return result, errors.Join(err, target.dropTopic(admin))
}

func (r *session) run(ctx context.Context) (Result, error) {
	workers, err := r.workers(ctx)
	if err != nil {
		return Result{}, err
	}
	life, end := context.WithCancel(ctx)
	defer end()
	ended := make(chan error, len(workers))
	for _, w := range workers {
		go func() {
			err := w(life)
			if err != nil {
				end()
			}
			ended <- err
		}()
	}
	result, err := r.measure(life)
	end()
	for range workers {
		err = errors.Join(<-ended, err) // what a worker says explains why the measuring broke off
	}
	if err == nil && result.Records == 0 {
		err = ErrNothing
		if cause := r.meter.Err(); cause != nil {
			err = fmt.Errorf("%w: %w", err, cause)
		}
	}
	result.TotalBytes = r.meter.bytes.Load()
	r.meter.mu.Lock()
	defer r.meter.mu.Unlock()
	result.Latency = newLatency(r.meter.kept)
	return result, err
}

// workers of the scenario's kind, ready to begin.
func (r *session) workers(ctx context.Context) ([]worker, error) {
	switch r.s.Kind {
	case Produce:
		return r.producers(), nil
	case Consume:
		return r.consumers(ctx)
	case E2E:
		return r.endToEnd(ctx)
	case RawProduce:
		return r.rawProducers(ctx)
	case RawFetch:
		return r.rawFetchers(ctx)
	case Cold:
		return r.cold(ctx)
	}
	return nil, fmt.Errorf("%w: kind %q", ErrScenario, r.s.Kind)
}

// measure waits for the warm-up, and then for the time that counts.
func (r *session) measure(ctx context.Context) (Result, error) {
	if err := wait(ctx, r.s.WarmUp); err != nil {
		return Result{}, err
	}
	used, err := machine.ReadUsage(r.target.PIDs)
	if err != nil {
		return Result{}, err //nolint:wrapcheck // says which process
	}
	began, first := time.Now(), r.meter.Snapshot()
	r.meter.open(began)
	if err := wait(ctx, r.s.Duration); err != nil {
		return Result{}, err
	}
	end, last := time.Now(), r.meter.Snapshot()
	r.meter.shut(end)
	after, err := machine.ReadUsage(r.target.PIDs)
	if err != nil {
		return Result{}, err //nolint:wrapcheck // says which process
	}
	res := Result{
		Scenario: r.s, At: began, Seconds: end.Sub(began).Seconds(),
		Records: last.Records - first.Records, Bytes: last.Bytes - first.Bytes, Errors: last.Errors - first.Errors,
	}
	res.RecordsPerSecond = float64(res.Records) / res.Seconds
	res.MBPerSecond = float64(res.Bytes) / res.Seconds / 1e6
	if res.Errors > 0 {
		if err := r.meter.Err(); err != nil {
			res.Error = err.Error()
		}
	}
	if len(r.target.PIDs) > 0 {
		res.Brokers = newBrokers(after.Sub(used), res.Records, res.Bytes)
	}
	return res, nil
}

func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx) //nolint:wrapcheck // an interrupt, or a worker that failed
	case <-time.After(d):
		return nil
	}
}
