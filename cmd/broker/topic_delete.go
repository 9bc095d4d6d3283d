package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/stelemq/stele/client"
	"github.com/stelemq/stele/protocol"
)

// topicDelete is `broker topic delete`.
type topicDelete struct {
	admin
	yes, ifExists bool
}

// deletedTopic is a topic in the answer.
type deletedTopic struct {
	Name   string `json:"name"`
	Status string `json:"status"`
	Error  string `json:"error,omitempty"`
}

func newTopicDelete(s streams) *cobra.Command {
	t := &topicDelete{admin: admin{streams: s}}
	cmd := &cobra.Command{
		Use: "delete NAME...", Short: "Delete topics and everything in them", Args: cobra.MinimumNArgs(1),
		Long: `Deletes topics with all their records; nothing brings them back. On a terminal it asks for the name again, elsewhere
it needs --yes.`,
		Example:           "  broker topic delete logs\n  broker topic delete logs events --yes --if-exists",
		ValidArgsFunction: t.completeTopics,
		RunE: func(cmd *cobra.Command, names []string) error {
			if err := t.confirm(names); err != nil {
				return err
			}
			return t.ask(cmd.Context(), func(ctx context.Context, c *client.Client) (answer, error) { return t.remove(ctx, c, names) })
		},
	}
	t.addFlags(cmd)
	cmd.Flags().BoolVar(&t.yes, "yes", false, "do not ask")
	cmd.Flags().BoolVar(&t.ifExists, "if-exists", false, "a topic that does not exist is no failure")
	return cmd
}

// confirm asks for the names on a terminal; elsewhere --yes must have said it.
func (t *topicDelete) confirm(names []string) error {
	if t.yes {
		return nil
	}
	want := strings.Join(names, " ")
	if !isTerminal(t.in) {
		return usageErrorf("deleting %s needs --yes where nobody can be asked", want)
	}
	fmt.Fprintf(t.err, "This deletes all records of %s. Type %q to go on: ", want, want)
	line, err := bufio.NewReader(t.in).ReadString('\n')
	if err != nil || strings.TrimSpace(line) != want {
		return &codeError{exitFailure, errors.New("nothing was deleted")}
	}
	return nil
}

func (t *topicDelete) remove(ctx context.Context, c *client.Client, names []string) (answer, error) {
	results, err := c.DeleteTopics(ctx, names...)
	if err != nil {
		return answer{}, err //nolint:wrapcheck // says all
	}
	var items []deletedTopic
	var failed []error
	a := answer{kind: "TopicDeleteList", sections: []section{{}}}
	for _, r := range results {
		row := deletedTopic{Name: r.Name, Status: "DELETED"}
		switch {
		case r.Err == nil:
			a.names = append(a.names, r.Name)
		case t.ifExists && client.Code(r.Err) == protocol.UnknownTopicOrPartition:
			row.Status = "ABSENT"
		default:
			row.Status, row.Error = "FAILED", r.Err.Error()
			failed = append(failed, r.Err)
		}
		items = append(items, row)
		a.sections[0].rows = append(a.sections[0].rows, []string{row.Name, row.Status})
	}
	a.items = items
	return a, errors.Join(failed...)
}
