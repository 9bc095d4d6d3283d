package client

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/stelemq/stele/protocol"
)

// suggestTimeout bounds the search for the name that was meant.
const suggestTimeout = time.Second

// unknownTopic is the error for a topic that does not exist, with the name of
// one that does and differs by two letters at most.
func (c *Client) unknownTopic(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, suggestTimeout)
	defer cancel()
	topics, err := c.refresh(ctx, nil, false)
	if err != nil {
		return doesNotExist(name, "")
	}
	names := make([]string, 0, len(topics))
	for i := range topics {
		if !topics[i].Internal && topics[i].Err == nil {
			names = append(names, topics[i].Name)
		}
	}
	return doesNotExist(name, closest(name, names))
}

// unknownGroup is the same for groups.
func (c *Client) unknownGroup(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(ctx, suggestTimeout)
	defer cancel()
	groups, _ := c.Groups(ctx) // those of brokers that answer
	names := make([]string, len(groups))
	for i := range groups {
		names[i] = groups[i].ID
	}
	e := &Error{Code: protocol.GroupIDNotFound, Reason: fmt.Sprintf("group %q does not exist", id), Err: protocol.GroupIDNotFound}
	if meant := closest(id, names); meant != "" {
		e.Hint = fmt.Sprintf("Did you mean %q?", meant)
	}
	return e
}

func doesNotExist(name, meant string) error {
	e := &Error{
		Code:   protocol.UnknownTopicOrPartition,
		Reason: fmt.Sprintf("topic %q does not exist", name),
		Hint:   "Create it with: broker topic create " + name,
		Err:    errors.Join(ErrUnknownTopic, protocol.UnknownTopicOrPartition),
	}
	if meant != "" {
		e.Hint = fmt.Sprintf("Did you mean %q? (create: broker topic create %s)", meant, name)
	}
	return e
}

// closest returns the name nearest to the given one, at most two edits away,
// or nothing.
func closest(name string, names []string) string {
	best, distance := "", 3
	for _, n := range names {
		if d := editDistance(name, n, distance); d < distance {
			best, distance = n, d
		}
	}
	if distance >= len(name) { // as good as any other word
		return ""
	}
	return best
}

// editDistance is Levenshtein's; it gives up at the limit and returns it.
func editDistance(a, b string, limit int) int {
	if d := len(a) - len(b); d >= limit || -d >= limit {
		return limit
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(row[j+1]+1, row[j]+1, diagonal+cost)
		}
	}
	return min(row[len(b)], limit)
}
