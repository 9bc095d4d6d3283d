package main

import (
	"strconv"
	"strings"

	"github.com/spf13/cobra"
)

func newTopic(s streams) *cobra.Command {
	return parent("topic", "Create, list, describe, alter and delete topics",
		"  broker topic create logs -p 6\n  broker topic list\n  broker topic describe logs\n  broker topic delete logs --yes", groupAdmin,
		newTopicCreate(s), newTopicList(s), newTopicDescribe(s), newTopicAlter(s), newTopicAddPartitions(s), newTopicTrim(s), newTopicDelete(s))
}

func ids(list []int32) string {
	if len(list) == 0 {
		return "-"
	}
	text := make([]string, 0, len(list))
	for _, id := range list {
		text = append(text, strconv.Itoa(int(id)))
	}
	return strings.Join(text, ",")
}

func plural(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return strconv.Itoa(n) + " " + word + "s"
}
