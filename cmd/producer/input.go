package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/stelemq/stele/client"
	"github.com/stelemq/stele/internal/cli"
	"github.com/stelemq/stele/internal/recordfmt"
)

// recordBytesMax bounds a line of the input.
const recordBytesMax = 32 << 20

// feed gives records to the Producer until there are no more.
func (s *session) feed(ctx context.Context, p *client.Producer) error {
	switch {
	case s.o.messageSet || s.o.tombstone:
		return s.give(ctx, p, s.record(s.single()))
	case s.o.json:
		return s.feedJSON(ctx, p)
	case s.o.format != "":
		return s.feedFormat(ctx, p)
	case cli.IsTerminal(s.stdin):
		return s.converse(ctx, p)
	default:
		return s.feedLines(ctx, p)
	}
}

// single is the value of -m, or null for -Z.
func (s *session) single() []byte {
	if s.o.tombstone {
		return nil
	}
	return []byte(s.o.message)
}

// record is a record with the key and the headers of the flags.
func (s *session) record(value []byte) *client.Record {
	r := &client.Record{Topic: s.o.topic, Partition: s.o.partition, Value: value, Headers: s.o.recordHeaders}
	if s.o.keySet {
		r.Key = []byte(s.o.key)
	}
	return r
}

// give hands a record over; the Producer copies it.
func (s *session) give(ctx context.Context, p *client.Producer, r *client.Record) error {
	if err := p.Produce(ctx, r, nil); err != nil {
		return err //nolint:wrapcheck // says it all
	}
	s.count(1, len(r.Value))
	return nil
}

func (s *session) count(records int64, size int) {
	s.mu.Lock()
	s.taken += records
	s.read += int64(size)
	s.mu.Unlock()
}

// feedLines makes each line a record. One Record serves for all.
func (s *session) feedLines(ctx context.Context, p *client.Producer) error {
	lines := newLines(s.stdin)
	r := s.record(nil)
	pace := newPace(s.o.perSecond)
	for {
		line, err := lines.next()
		if err != nil {
			return endOfInput(err)
		}
		if err := pace.wait(ctx); err != nil {
			return err
		}
		r.Value = line
		if err := s.give(ctx, p, r); err != nil {
			return err
		}
	}
}

func endOfInput(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return fmt.Errorf("read the input: %w", err)
}

// lines splits the input without copying what fits its buffer.
type lines struct {
	r    *bufio.Reader
	long []byte
}

func newLines(r io.Reader) *lines { return &lines{r: bufio.NewReaderSize(r, 1<<20)} }

// next returns the next line without its end; it is valid until the call after.
func (l *lines) next() ([]byte, error) {
	line, err := l.r.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		l.long = l.long[:0]
		for errors.Is(err, bufio.ErrBufferFull) {
			if l.long = append(l.long, line...); len(l.long) > recordBytesMax {
				return nil, fmt.Errorf("a line is longer than %s", cli.Bytes(recordBytesMax))
			}
			line, err = l.r.ReadSlice('\n')
		}
		l.long = append(l.long, line...)
		line = l.long
	}
	if err != nil && len(line) == 0 {
		return nil, err //nolint:wrapcheck // the caller does
	}
	return bytes.TrimSuffix(line, []byte{'\n'}), nil
}

// feedJSON reads an object per line.
func (s *session) feedJSON(ctx context.Context, p *client.Producer) error {
	lines := newLines(s.stdin)
	pace := newPace(s.o.perSecond)
	for n := 1; ; n++ {
		line, err := lines.next()
		if err != nil {
			return endOfInput(err)
		}
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		in, err := recordfmt.ParseJSON(line)
		if err != nil {
			return fmt.Errorf("line %d: %w", n, err)
		}
		if err := s.giveParsed(ctx, p, pace, in); err != nil {
			return err
		}
	}
}

// feedFormat reads records as -f says.
func (s *session) feedFormat(ctx context.Context, p *client.Producer) error {
	reader, err := recordfmt.NewReader(s.stdin, s.o.format, recordBytesMax)
	if err != nil {
		return &cli.UsageError{Err: err}
	}
	pace := newPace(s.o.perSecond)
	var in recordfmt.Record
	for {
		switch err := reader.Next(&in); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("read the input: %w", err)
		}
		if err := s.giveParsed(ctx, p, pace, &in); err != nil {
			return err
		}
	}
}

// giveParsed completes a record of the input with what the flags say, and
// hands it over. Flags win where they are set.
func (s *session) giveParsed(ctx context.Context, p *client.Producer, pace *pace, in *recordfmt.Record) error {
	if err := pace.wait(ctx); err != nil {
		return err
	}
	r := client.Record(*in)
	if s.o.topic != "" {
		r.Topic = s.o.topic
	}
	if r.Topic == "" {
		return errors.New("a record names no topic. Name one with -t")
	}
	if s.o.partition >= 0 {
		r.Partition = s.o.partition
	}
	if s.o.keySet {
		r.Key = []byte(s.o.key)
	}
	if len(s.o.recordHeaders) > 0 {
		r.Headers = append(r.Headers, s.o.recordHeaders...)
	}
	return s.give(ctx, p, &r)
}

// converse prompts for lines and tells where each one went.
func (s *session) converse(ctx context.Context, p *client.Producer) error {
	s.say("type messages, Ctrl-D to finish\n")
	lines := newLines(s.stdin)
	for {
		s.say("> ")
		line, err := lines.next()
		if err != nil {
			s.say("\n")
			return endOfInput(err)
		}
		s.count(1, len(line))
		d, err := p.ProduceSync(ctx, s.record(line))
		switch {
		case ctx.Err() != nil:
			return nil //nolint:nilerr // the program knows that it is interrupted
		case err != nil:
			continue // onBatch has said why
		}
		s.say("partition %d offset %d\n", d.Partition, d.Offset)
	}
}

// pace keeps to a rate.
type pace struct {
	interval time.Duration // 0: none
	next     time.Time
}

func newPace(perSecond float64) *pace {
	if perSecond == 0 {
		return new(pace)
	}
	return &pace{interval: time.Duration(float64(time.Second) / perSecond), next: time.Now()}
}

// wait waits until the next record may go.
func (p *pace) wait(ctx context.Context) error {
	if p.interval == 0 {
		return nil
	}
	now := time.Now()
	d := p.next.Sub(now)
	p.next = p.next.Add(p.interval)
	if d < -time.Second { // the input was slower: do not make up for it in a burst
		p.next = now.Add(p.interval)
	}
	if d <= 0 {
		return nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return cli.ErrInterrupted
	}
}
