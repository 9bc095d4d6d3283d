package metadata

import (
	"fmt"
	"strings"
)

// MaxTopicName is the longest name of a topic, so that "<topic>-<partition>.<suffix>" fits a file name.
const MaxTopicName = 249

// ValidateTopicName says in a sentence what is wrong with a topic's name, as Kafka's Topic.validate; nil
// where nothing is.
func ValidateTopicName(name string) error {
	switch {
	case name == "":
		return invalidName("the empty string is not allowed")
	case name == "." || name == "..":
		return invalidName("'" + name + "' is not allowed")
	case len(name) > MaxTopicName:
		return invalidName(fmt.Sprintf("the length of '%s...' is longer than the max allowed length %d",
			name[:32], MaxTopicName))
	}
	for i := range len(name) {
		c := name[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '.', c == '_', c == '-':
		default:
			return invalidName(fmt.Sprintf("'%s' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'", name))
		}
	}
	return nil
}

type nameError string

func (e nameError) Error() string { return "Topic name is invalid: " + string(e) }

func invalidName(why string) error { return nameError(why) }

// InternalTopic reports whether a topic belongs to the cluster itself.
func InternalTopic(name string) bool {
	return name == "__consumer_offsets" || name == "__transaction_state"
}

func unify(name string) string { return strings.ReplaceAll(name, ".", "_") }

func hasUnderscore(name string) bool { return strings.ContainsRune(name, '_') }
