package transport

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"
)

const (
	// acceptedMax bounds the connections that others have opened.
	acceptedMax = 4096
	// ungreetedMax bounds those that have not introduced themselves, guestsMax those of no proven member of the cluster;
	// beyond, the oldest has to go.
	ungreetedMax = 256
	guestsMax    = 64
)

func (t *Transport) accept() {
	wait := time.Millisecond
	for {
		c, err := t.config.Listener.Accept()
		if err != nil {
			if t.ctx.Err() != nil {
				return
			}
			// Out of descriptors, most likely: it passes.
			t.config.Logger.Warn("raft address cannot accept", "error", err)
			select {
			case <-t.ctx.Done():
				return
			case <-time.After(wait):
			}
			wait = min(2*wait, time.Second)
			continue
		}
		wait = time.Millisecond
		l := &link{Conn: c, node: -1, done: make(chan struct{})}
		if !t.admit(l) {
			hangUp(c)
			continue
		}
		if !t.spawn(func() { t.attend(l) }) {
			t.dismiss(l)
		}
	}
}

func (t *Transport) attend(l *link) {
	defer t.dismiss(l)
	t.serve(l)
}

func (t *Transport) dismiss(l *link) {
	l.cut()
	close(l.done)
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.accepted, l)
}

// admit registers a connection that was accepted. Strangers cannot use up what members need: of those that have not
// introduced themselves the oldest makes room.
func (t *Transport) admit(l *link) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return false
	}
	t.evictLocked(ungreetedMax-1, func(l *link) bool { return l.greeting == nil })
	if len(t.accepted) >= acceptedMax {
		return false
	}
	t.admitted++
	l.number = t.admitted
	t.accepted[l] = struct{}{}
	return true
}

// evictLocked cuts the oldest accepted link of a kind if there are more than so many.
func (t *Transport) evictLocked(most int, kind func(*link) bool) {
	n := 0
	var oldest *link
	for l := range t.accepted {
		if l.gone.Load() || !kind(l) {
			continue
		}
		n++
		if oldest == nil || l.number < oldest.number {
			oldest = l
		}
	}
	if n > most {
		oldest.cut()
	}
}

// proven reports whether whoever opened the link is a node of this cluster.
func (t *Transport) proven(l *link) bool { return l.greeting.member(t.who.Load()) }

func (g *greeting) member(who *identity) bool {
	return g.Node >= 0 && g.Cluster != "" && g.Cluster == who.cluster
}

// receive reads a greeting, judges it and answers. When it returns no error the link is registered under its greeting, and
// all that it replaces has ended.
func (t *Transport) receive(l *link) error {
	_ = l.SetDeadline(time.Now().Add(greetTimeout))
	g := new(greeting)
	if err := readHello(l, g); err != nil {
		return err
	}
	t.mu.Lock()
	who := *t.who.Load()
	no := t.judge(&who, g)
	if no == nil && g.member(&who) {
		no = t.seenLocked(g.Node, g.Incarnation)
	}
	var replaced []*link
	if no == nil {
		if !g.member(&who) {
			t.evictLocked(guestsMax-1, func(l *link) bool { return l.greeting != nil && !t.proven(l) })
		} else {
			replaced = t.replacedLocked(g)
		}
		l.greeting = g
	}
	p := t.peers[g.Node]
	t.mu.Unlock()
	t.retire(replaced)
	w := welcome{Cluster: who.cluster, Node: who.node, Incarnation: t.incarnation}
	if no != nil {
		w.Starting, w.Error = no.class == ErrStarting, no.text //nolint:errorlint // the very one
	}
	if err := writeHello(l, &w); err != nil {
		return err
	}
	if no != nil {
		return no
	}
	_ = l.SetDeadline(time.Time{})
	if p != nil && g.member(&who) {
		p.heard(g.Incarnation)
	}
	return nil
}

// replacedLocked returns the links that a node's new one makes void: what an earlier start of it left behind, and the
// lane's former connection.
func (t *Transport) replacedLocked(g *greeting) []*link {
	var out []*link
	for l := range t.accepted {
		o := l.greeting
		if o == nil || o.Node != g.Node {
			continue
		}
		if o.Incarnation != g.Incarnation || (o.Lane == g.Lane && o.Lane.raft()) {
			out = append(out, l)
		}
	}
	return out
}

// retire cuts links and waits until nothing that they brought can reach Raft any more: an acknowledgement of a former
// start, after one has been heard of the next, could stand for entries that were lost between.
func (t *Transport) retire(links []*link) {
	for _, l := range links {
		l.cut()
	}
	late := time.NewTimer(greetTimeout)
	defer late.Stop()
	for _, l := range links {
		if !l.greeting.Lane.raft() {
			continue
		}
		select {
		case <-l.done:
		case <-late.C:
			return
		case <-t.ctx.Done():
			return
		}
	}
}

// serve answers a connection that was opened by another node.
func (t *Transport) serve(l *link) {
	tune(l.Conn)
	if err := t.receive(l); err != nil {
		switch {
		case errors.Is(err, ErrForeign) && t.ClusterID() != "": // before, others send to where they expect this node

			t.refusals.log(t.config.Logger, "connection to the raft address refused", "from", host(l.RemoteAddr()), "error", err.Error())
		case !errors.Is(err, net.ErrClosed):
			t.config.Logger.Debug("connection to the raft address refused", "from", host(l.RemoteAddr()), "error", err)
		}
		return
	}
	var err error
	g := l.greeting
	switch g.Lane {
	case laneData, laneControl:
		err = t.serveLane(l, g.Node)
	case laneSnapshot:
		err = t.serveSnapshot(l)
	case laneCalls, laneBulk:
		err = t.serveCalls(l)
	}
	if err != nil && !l.gone.Load() && t.ctx.Err() == nil && !errors.Is(err, io.EOF) {
		t.config.Logger.Debug("connection of a node ended", "node", g.Node, "lane", g.Lane, "error", err)
	}
}

// host is an address without its port, which differs in each attempt.
func host(a net.Addr) string {
	if h, _, err := net.SplitHostPort(a.String()); err == nil {
		return h
	}
	return a.String()
}

// complaints keeps what repeats at each attempt of a foreign node from filling the log.
type complaints struct {
	mu sync.Mutex
	// mu guards:
	last map[string]time.Time
}

const (
	complainEvery = 30 * time.Second
	complaintsMax = 256
)

func (c *complaints) log(l *slog.Logger, text string, args ...any) {
	key := fmt.Sprint(args...)
	now := time.Now()
	c.mu.Lock()
	if c.last == nil || len(c.last) >= complaintsMax {
		c.last = make(map[string]time.Time)
	}
	last, ok := c.last[key]
	due := !ok || now.Sub(last) >= complainEvery
	if due {
		c.last[key] = now
	}
	c.mu.Unlock()
	if due {
		l.Warn(text, args...) //nolint:sloglint // the callers' texts are constant
	}
}
