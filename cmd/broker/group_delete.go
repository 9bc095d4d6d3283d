package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/stelemq/stele/client"
	"github.com/stelemq/stele/protocol"
)

// confirmNames asks for the names on a terminal; elsewhere --yes must have said it.
func confirmNames(s streams, yes bool, names []string, what string) error {
	if yes {
		return nil
	}
	want := strings.Join(names, " ")
	if !isTerminal(s.in) {
		return usageErrorf("deleting %s needs --yes where nobody can be asked", want)
	}
	fmt.Fprintf(s.err, what+" Type %q to go on: ", want, want)
	line, err := bufio.NewReader(s.in).ReadString('\n')
	if err != nil || strings.TrimSpace(line) != want {
		return &codeError{exitFailure, errors.New("nothing was deleted")}
	}
	return nil
}

func deleteGroups(ctx context.Context, c *client.Client, names []string) (answer, error) {
	var rows []deletedTopic
	var failed []error
	a := answer{kind: "GroupDeleteList", sections: []section{{}}}
	for _, name := range names {
		err := c.DeleteGroup(ctx, name)
		if client.Code(err) == protocol.NonEmptyGroup {
			if g, derr := c.DescribeGroup(ctx, name); derr == nil {
				err = liveMembers(g, "Stop them first")
			}
		}
		row := deletedTopic{Name: name, Status: "DELETED"}
		if err != nil {
			row.Status, row.Error = "FAILED", err.Error()
			failed = append(failed, err)
		} else {
			a.names = append(a.names, name)
		}
		rows = append(rows, row)
		a.sections[0].rows = append(a.sections[0].rows, []string{row.Name, row.Status})
	}
	a.items = rows
	return a, errors.Join(failed...)
}

// liveMembers says who keeps a group from being changed, and what to do.
func liveMembers(g *client.Group, hint string) error {
	const shown = 3
	var who []string
	for i := range g.Members {
		if i == shown {
			who = append(who, "…")
			break
		}
		m := &g.Members[i]
		name := m.ClientID
		if m.InstanceID != "" {
			name = m.InstanceID
		}
		who = append(who, name+"@"+strings.TrimPrefix(m.Host, "/"))
	}
	return &codeError{exitFailure, fmt.Errorf("%s has %s (%s). %s", g.ID, plural(len(g.Members), "active member"), strings.Join(who, ", "), hint)} //nolint:err113 // for people
}
