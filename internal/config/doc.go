// Package config reads the settings of a broker: one schema ([Settings]) from which defaults, flags,
// environment, files, validation, docs/config.md and configs/full-reference.yaml are made.
//
// A setting comes from, the first that has it: a --set flag, the environment (STELE_LOG_DIRS, also as
// STELE_LOG_DIRS_FILE naming a file that holds the value, then KAFKA_LOG_DIRS), the file (YAML with dotted
// or nested keys, or a server.properties), the default. [Load] reports all problems at once, each with
// where it stands, and [Config.Origins] tells where each value came from.
//
// Names and meanings are Kafka's where Kafka has the setting. Only settings that do something are in the
// schema; those of Kafka's that a broker may be given and that mean nothing here are listed as ignored
// (one warning) or refused (an explanation), so that nobody relies on what is not there.
//
// The package starts no goroutines and keeps no state.
package config
