package controller

import (
	"maps"
	"slices"

	"github.com/stelemq/stele/broker/metadata"
)

// drain moves a leadership away from a node that should not have it.
func (c *Controller) drain(v *View, pl place, a *Actions) {
	if !v.led(pl.state) || v.mayLead(pl.state.Leader) {
		return
	}
	if to, ok := pl.successor(v, a); ok {
		c.transfer(v, pl.transfer(to), a)
	}
}

// successor is who should lead instead: in the order of preference, but among those in sync, the one to whom
// the fewest leaderships go by this decision.
func (pl *place) successor(v *View, a *Actions) (int32, bool) {
	given := map[int32]int{}
	for _, t := range a.Transfers {
		given[t.To]++
	}
	best := int32(-1)
	for _, r := range pl.p.Replicas {
		if r.State != metadata.Voter || r.Node == pl.state.Leader || !slices.Contains(pl.state.ISR, r.Node) || !v.mayLead(r.Node) {
			continue
		}
		if best < 0 || given[r.Node] < given[best] {
			best = r.Node
		}
	}
	return best, best >= 0
}

// transfer asks for a leadership to move, unless that has been asked for a moment ago.
func (c *Controller) transfer(v *View, t Transfer, a *Actions) {
	if at, ok := c.asked[t.Shard]; ok && v.Now.Sub(at) < c.cfg.Patience || len(a.Transfers) >= c.cfg.TransfersMax {
		return
	}
	c.asked[t.Shard] = v.Now
	a.Transfers = append(a.Transfers, t)
}

// balance gives brokers back the leaderships that they are preferred for, where more than a percentage of
// these is led by others. It looks every ImbalanceInterval, and goes on at once while there is more to do
// than one decision may.
func (c *Controller) balance(v *View, d *scan, a *Actions) {
	if !c.cfg.AutoRebalance || v.Now.Before(c.nextBalance) {
		return
	}
	c.nextBalance = v.Now.Add(c.cfg.ImbalanceInterval)
	for _, node := range slices.Sorted(maps.Keys(d.astray)) {
		astray := d.astray[node]
		if !v.mayLead(node) || 100*len(astray) <= c.cfg.ImbalancePercentage*d.preferred[node] {
			continue
		}
		for _, t := range astray {
			c.transfer(v, t, a)
		}
	}
	if len(a.Transfers) >= c.cfg.TransfersMax {
		c.nextBalance = v.Now
	}
}
