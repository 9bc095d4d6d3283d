// Package record is Kafka's record batch, version 2: parse, validate, patch, iterate, build, compress.
package record
