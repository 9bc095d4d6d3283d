package controller

import (
	"time"

	"github.com/stelemq/stele/broker/metadata"
)

// liveness fences brokers that have been silent for longer than the session timeout, and unfences those
// that are heard again.
func (c *Controller) liveness(v *View, a *Actions) {
	var fence metadata.FenceBrokers
	for _, b := range v.Image.Brokers() {
		if !b.Registered() {
			continue
		}
		n := v.Nodes[b.Node]
		heard := n.LastHeard
		if b.Node == v.Self {
			heard, n.Incarnation = v.Now, b.Incarnation
		}
		switch {
		case !b.Fenced && v.Now.Sub(later(heard, c.since)) > c.cfg.SessionTimeout:
			fence.Brokers = append(fence.Brokers, metadata.BrokerEpoch{Node: b.Node, Epoch: b.Epoch})
			a.Notes = append(a.Notes, Note{Text: "broker fenced: no heartbeat", Node: b.Node})
		case b.Fenced && !heard.IsZero() && v.Now.Sub(heard) <= c.cfg.SessionTimeout && n.Incarnation == b.Incarnation && b.Incarnation != "" && !n.ShuttingDown:
			a.Commands = append(a.Commands, &metadata.UnfenceBroker{BrokerEpoch: metadata.BrokerEpoch{Node: b.Node, Epoch: b.Epoch}})
			a.Notes = append(a.Notes, Note{Text: "broker unfenced", Node: b.Node})
		}
		c.noteFenced(b, v.Now)
	}
	if len(fence.Brokers) > 0 {
		a.Commands = append(a.Commands, &fence)
	}
}

func (c *Controller) noteFenced(b *metadata.Broker, now time.Time) {
	if _, known := c.fenced[b.Node]; !b.Fenced {
		delete(c.fenced, b.Node)
	} else if !known {
		c.fenced[b.Node] = now
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
