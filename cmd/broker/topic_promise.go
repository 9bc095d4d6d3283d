package main

import (
	"fmt"
	"strconv"

	"github.com/stelemq/stele/client"
)

// Modes of a topic: what it gives up first when nodes are lost.
const (
	modeAvailability = "availability"
	modeQuorum       = "quorum"
	modeProtection   = "protection"
)

const uncleanKey = "unclean.leader.election.enable"

// modeConfigs are the settings of a mode, for so many replicas.
func modeConfigs(mode string, replicas int) (map[string]string, error) {
	switch mode {
	case "", modeQuorum:
		return nil, nil
	case modeAvailability:
		return map[string]string{uncleanKey: "true"}, nil
	case modeProtection:
		return map[string]string{"min.insync.replicas": strconv.Itoa(replicas)}, nil
	}
	return nil, usageErrorf("--mode %s: want availability, quorum or protection", mode)
}

// promise is what a topic holds, in words.
type promise struct {
	Mode string `json:"mode"`
	// MayLose says what may be lost of what was acknowledged (acks=all), WritesStop when writing stops.
	MayLose    string `json:"may_lose"`
	WritesStop string `json:"writes_stop"`
}

// promiseOf works it out from a topic's replicas and settings.
func promiseOf(n int, configs []client.Config) promise {
	least, unclean, durable := 0, false, true
	for _, k := range configs {
		switch k.Name {
		case "min.insync.replicas":
			least, _ = strconv.Atoi(k.Value)
		case uncleanKey:
			unclean = k.Value == "true"
		case "flush.messages":
			durable = k.Value == "1"
		}
	}
	half := majority(n)
	least = max(least, half)
	p := promise{Mode: modeQuorum}
	switch {
	case unclean:
		p.Mode = modeAvailability
	case least == n && n > half:
		p.Mode = modeProtection
	}
	switch {
	case least > n:
		p.MayLose = "nothing: nothing is acknowledged with acks=all"
		p.WritesStop = fmt.Sprintf("always: min.insync.replicas is %d and there are %d replicas", least, n)
		return p
	case n == 1:
		p.MayLose = "everything, with the disk of its one node"
		p.WritesStop = "while its one node is down"
		return p
	case unclean:
		p.MayLose = fmt.Sprintf("when %d of %d replicas are lost at once: what only those had; the longest of the others goes on", n-half+1, n)
		p.WritesStop = fmt.Sprintf("for a moment when %d of %d replicas are down, until the controller lets another go on", n-half+1, n)
	case n-least+1 < half:
		p.MayLose = fmt.Sprintf("nothing, while the disk of %d of %d replicas survives; below %d broker partition recover is needed", n-least+1, n, half)
		p.WritesStop = fmt.Sprintf("while %d or more of %d replicas are down (acks=all needs %d)", n-least+1, n, least)
	default:
		p.MayLose = fmt.Sprintf("nothing, while the disks of %d of %d replicas survive", n-least+1, n)
		p.WritesStop = fmt.Sprintf("while %d or more of %d replicas are down (acks=all needs %d)", n-least+1, n, least)
	}
	if !durable {
		p.MayLose += fmt.Sprintf("; and the newest records when %d of %d nodes lose power at once", half, n)
	}
	return p
}
