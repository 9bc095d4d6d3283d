// Package topicconfig is the schema of topic configurations: names, types, defaults and checks as in
// Kafka 4, and how a topic inherits from the broker's settings.
//
// [Defs] is the one table; [Validate] checks a value, [Resolve] finds the value that holds and where it
// comes from, and [Parse] turns all of them into typed [Values]. Everything here is pure and safe for
// concurrent use.
package topicconfig
