package client

import (
	"context"
	"sync"
)

// pool holds one link per broker. Its owner has it alone: Client one for
// control requests, each Producer and each Consumer another, so that a fetch
// that waits for records does not hold up anything else.
type pool struct {
	client *Client

	mu sync.Mutex
	// mu guards:
	closed bool
	slots  map[int32]*slot
}

// slot is the place of a link. Its semaphore is held while dialing, so that
// one goroutine dials and others wait for it.
type slot struct {
	sem  chan struct{}
	link *link // guarded by sem
}

func newPool(c *Client) *pool { return &pool{client: c, slots: make(map[int32]*slot)} }

// get returns a working link to the broker, dialing it if there is none.
func (p *pool) get(ctx context.Context, broker int32) (*link, error) {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil, ErrClosed
	}
	s := p.slots[broker]
	if s == nil {
		s = &slot{sem: make(chan struct{}, 1)}
		p.slots[broker] = s
	}
	p.mu.Unlock()

	select {
	case s.sem <- struct{}{}:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	defer func() { <-s.sem }()

	addr, bootstrap, err := p.client.brokerAddr(broker)
	if err != nil {
		return nil, err
	}
	if s.link != nil {
		if s.link.addr == addr && !s.link.broken() {
			return s.link, nil
		}
		s.link.close(ErrClosed)
		s.link = nil
	}
	l, err := dialLink(ctx, &p.client.opts, addr)
	switch {
	case err == nil:
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case bootstrap == "" || bootstrap == addr:
		return nil, unreachable(addr, err)
	default:
		return nil, notAdvertised(bootstrap, addr, err)
	}
	p.mu.Lock()
	closed := p.closed
	p.mu.Unlock()
	if closed {
		l.close(ErrClosed)
		return nil, ErrClosed
	}
	s.link = l
	return l, nil
}

// live returns a working link to any broker, if there is one at hand.
func (p *pool) live() *link {
	p.mu.Lock()
	slots := make([]*slot, 0, len(p.slots))
	for _, s := range p.slots {
		slots = append(slots, s)
	}
	p.mu.Unlock()
	for _, s := range slots {
		select {
		case s.sem <- struct{}{}:
			l := s.link
			<-s.sem
			if l != nil && !l.broken() {
				return l
			}
		default: // being dialed
		}
	}
	return nil
}

// close breaks all links and waits for their goroutines.
func (p *pool) close() {
	p.mu.Lock()
	p.closed = true
	slots := p.slots
	p.slots = nil
	p.mu.Unlock()
	for _, s := range slots {
		s.sem <- struct{}{}
		if s.link != nil {
			s.link.close(ErrClosed)
			s.link = nil
		}
		<-s.sem
	}
}
