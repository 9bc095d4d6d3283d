package main

import (
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/stelemq/stele/client"
	"github.com/stelemq/stele/internal/cli"
	"github.com/stelemq/stele/protocol/record"
)

// options are the flags, and what they mean.
type options struct {
	connection cli.Connection
	topic      string
	partition  int32
	key        string
	message    string
	headers    []string
	tombstone  bool
	format     string
	json       bool
	codecName  string
	acks       string
	idempotent bool
	batchBytes string
	linger     string
	rate       string
	progress   bool

	keySet, messageSet bool
	recordHeaders      []client.Header
	codec              record.Codec
	acksValue          client.Acks
	batchBytesValue    int64
	lingerValue        time.Duration
	perSecond          float64 // 0: as fast as possible
	recordTimeout      time.Duration
}

func (o *options) addFlags(f *pflag.FlagSet) {
	f.SortFlags = false
	f.StringVarP(&o.topic, "topic", "t", "", "topic to write to")
	o.connection.AddFlags(f)
	f.StringVarP(&o.key, "key", "k", "", "key of every record")
	f.StringArrayVarP(&o.headers, "header", "H", nil, "header `name=value` of every record, repeatable")
	f.Int32VarP(&o.partition, "partition", "p", -1, "partition to write to (default: by key, or any)")
	f.StringVarP(&o.message, "message", "m", "", "write this one record and end")
	f.BoolVarP(&o.tombstone, "tombstone", "Z", false, "write one record with a null value, which deletes its key")
	f.StringVarP(&o.format, "format", "f", "", `format of the input (default '%v\n')`)
	f.BoolVar(&o.json, "json", false, "read one JSON object per line")
	f.StringVarP(&o.codecName, "compression", "z", "none", "none, gzip, snappy, lz4 or zstd")
	f.StringVar(&o.acks, "acks", "all", "what to wait for: all, 1 (the leader) or 0 (nothing)")
	f.BoolVar(&o.idempotent, "idempotent", true, "store no record twice (with --acks all)")
	f.StringVar(&o.batchBytes, "batch-bytes", "1MiB", "size of a full batch")
	f.StringVar(&o.linger, "linger", "5ms", "how long a batch waits for more records")
	f.StringVar(&o.rate, "rate", "", "at most this many records: 500/s, 30/m")
	f.BoolVar(&o.progress, "progress", false, "show progress on a terminal")
}

// check finds what the flags mean.
func (o *options) check(f *pflag.FlagSet) error {
	o.keySet, o.messageSet = f.Changed("key"), f.Changed("message")
	switch {
	case o.topic == "" && !o.json && !strings.Contains(o.format, "%t"):
		return cli.Usagef("which topic? Name it with -t")
	case o.messageSet && o.tombstone:
		return cli.Usagef("-m and -Z exclude each other: a tombstone has no value")
	case o.tombstone && !o.keySet:
		return cli.Usagef("-Z needs a key (-k): a tombstone deletes one")
	case o.json && o.format != "":
		return cli.Usagef("--json and -f exclude each other")
	case (o.messageSet || o.tombstone) && (o.json || o.format != ""):
		return cli.Usagef("-m and -Z write one record and read no input: leave --json and -f out")
	case f.Changed("partition") && o.partition < 0:
		return cli.Usagef("--partition %d: partitions are numbered from 0", o.partition)
	}
	for _, h := range o.headers {
		name, value, ok := strings.Cut(h, "=")
		if !ok {
			return cli.Usagef("header %q: write it as name=value", h)
		}
		o.recordHeaders = append(o.recordHeaders, client.Header{Key: name, Value: []byte(value)})
	}
	o.recordTimeout = recordTimeout
	if f.Changed("timeout") {
		if o.connection.Timeout <= 0 {
			return cli.Usagef("--timeout must be more than 0")
		}
		o.recordTimeout = o.connection.Timeout
	}
	return o.checkValues()
}

// checkValues parses flags with units.
func (o *options) checkValues() error {
	var err error
	if o.codec, err = record.ParseCodec(o.codecName); err != nil {
		return cli.Usagef("-z %s: want none, gzip, snappy, lz4 or zstd", o.codecName)
	}
	switch o.acks {
	case "all", "-1":
		o.acksValue = client.AcksAll
	case "1":
		o.acksValue = client.AcksLeader
	case "0":
		o.acksValue = client.AcksNone
	default:
		return cli.Usagef("--acks %s: want all, 1 or 0", o.acks)
	}
	if o.batchBytesValue, err = cli.ParseBytes(o.batchBytes); err != nil || o.batchBytesValue < 1 || o.batchBytesValue > 512<<20 {
		return cli.Usagef("--batch-bytes %s: want a size from 1 to 512MiB", o.batchBytes)
	}
	if o.lingerValue, err = cli.ParseDuration(o.linger); err != nil || o.lingerValue < 0 {
		return cli.Usagef("--linger %s: want a duration such as 5ms", o.linger)
	}
	if o.lingerValue == 0 {
		o.lingerValue = -1 // none, where 0 would be the default
	}
	if o.rate != "" {
		if o.perSecond, err = cli.ParseRate(o.rate); err != nil {
			return cli.Usagef("--rate: %v", err)
		}
	}
	return nil
}
