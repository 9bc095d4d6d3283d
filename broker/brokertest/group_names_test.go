package brokertest_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/stelemq/stele/broker"
	"github.com/stelemq/stele/broker/brokertest"
	"github.com/stelemq/stele/client"
	"github.com/stelemq/stele/protocol"
)

// Who misspells a group is told which one may be meant, and nothing where none is like it.
func TestDescribeGroup_SuggestsAName(t *testing.T) {
	b := brokertest.Start(t, brokertest.Options{Config: func(o *broker.Config) { quickGroups(o) }})
	createTopic(t, dialAddress(t, b.Address()), "t", 1, 1)
	k, err := client.New(client.Options{Bootstrap: []string{b.Address()}})
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close() //nolint:errcheck // the test ends
	if err := k.CommitOffsets(t.Context(), "billing", map[client.TopicPartition]int64{{Topic: "t"}: 0}); err != nil {
		t.Fatal(err)
	}
	for name, hint := range map[string]string{"biling": `Did you mean "billing"?`, "something-else": ""} {
		_, err := k.DescribeGroup(t.Context(), name)
		var e *client.Error
		if !errors.Is(err, protocol.GroupIDNotFound) || !errors.As(err, &e) || e.Hint != hint || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v, want a hint %q", name, err, hint)
		}
	}
}
