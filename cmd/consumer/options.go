package main

import (
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/stelemq/stele/client"
	"github.com/stelemq/stele/internal/cli"
	"github.com/stelemq/stele/internal/recordfmt"
)

// options are the flags, and what they mean.
type options struct {
	connection    cli.Connection
	topics        []string
	regex         bool
	partitions    []int
	offset        string
	fromBeginning bool
	num           int64
	exitEOF       bool
	format        string
	greps         []string
	stats         bool
	wait          bool
	group         string
	noCommit      bool

	from    client.Position
	to      *client.Position
	layout  *recordfmt.Layout // nil: json, pretty
	filters []filter
}

func (o *options) addFlags(f *pflag.FlagSet) {
	f.SortFlags = false
	f.StringSliceVarP(&o.topics, "topic", "t", nil, "topic to read, repeatable")
	o.connection.AddFlags(f)
	f.StringVarP(&o.offset, "offset", "o", "end", "where to begin, or a range FROM:TO")
	f.BoolVar(&o.fromBeginning, "from-beginning", false, "the same as -o start")
	f.Int64VarP(&o.num, "num", "n", 0, "end after this many records")
	f.BoolVarP(&o.exitEOF, "exit-eof", "e", false, "end where the topic ended at the start")
	f.StringVarP(&o.format, "format", "f", "value", "value, raw, json, pretty, or a text with verbs")
	f.IntSliceVarP(&o.partitions, "partition", "p", nil, "partitions to read (default all)")
	f.BoolVarP(&o.regex, "regex", "r", false, "topics are regular expressions")
	f.StringVarP(&o.group, "group", "g", "", "read as a member of this `group`, and commit")
	f.BoolVar(&o.noCommit, "no-commit", false, "with -g: commit nothing")
	f.StringArrayVar(&o.greps, "grep", nil, "only records that match: `k:RE`, v:RE or h:NAME=RE, repeatable")
	f.BoolVar(&o.stats, "stats", false, "print rates and lag each second")
	f.BoolVar(&o.wait, "wait", false, "wait for a topic that does not exist")
}

// check finds what the flags mean.
func (o *options) check(f *pflag.FlagSet) error {
	switch {
	case len(o.topics) == 0:
		return cli.Usagef("which topic? Name it with -t")
	case o.fromBeginning && f.Changed("offset"):
		return cli.Usagef("--from-beginning and -o exclude each other")
	case f.Changed("num") && o.num < 1:
		return cli.Usagef("-n %d: want at least 1", o.num)
	case o.connection.Timeout <= 0:
		return cli.Usagef("--timeout must be more than 0")
	case o.wait && o.regex:
		return cli.Usagef("--wait needs a topic's name, not a regular expression")
	}
	if err := o.checkGroup(f); err != nil {
		return err
	}
	for _, p := range o.partitions {
		if p < 0 {
			return cli.Usagef("--partition %d: partitions are numbered from 0", p)
		}
	}
	if o.fromBeginning {
		o.offset = "start"
	}
	var err error
	if o.from, o.to, err = parseRange(o.offset, time.Now()); err != nil {
		return &cli.UsageError{Err: err}
	}
	if o.group != "" && o.to != nil {
		return cli.Usagef("-g excludes the range %s", o.offset)
	}
	if o.exitEOF {
		if o.to != nil {
			return cli.Usagef("-e and the range %s exclude each other", o.offset)
		}
		end := client.End()
		o.to = &end
	}
	for _, g := range o.greps {
		flt, err := parseFilter(g)
		if err != nil {
			return &cli.UsageError{Err: err}
		}
		o.filters = append(o.filters, flt)
	}
	return o.checkFormat()
}

// checkGroup refuses what a member of a group cannot do: the group says what it reads and from where.
func (o *options) checkGroup(f *pflag.FlagSet) error {
	switch {
	case o.group == "" && f.Changed("group"):
		return cli.Usagef("-g: a group has a name")
	case o.group == "" && o.noCommit:
		return cli.Usagef("--no-commit needs -g")
	case o.group != "" && (len(o.partitions) > 0 || o.exitEOF):
		return cli.Usagef("-g excludes -p and -e: the group shares the partitions out, and goes on")
	}
	return nil
}

// checkFormat finds the layout. With several topics, values are preceded by
// the topic's name.
func (o *options) checkFormat() error {
	layout := o.format
	switch o.format {
	case "json", "pretty":
		return nil
	case "raw":
		layout = "%v"
	case "value":
		layout = `%v\n`
		if o.regex || len(o.topics) > 1 {
			layout = `%t\t%v\n`
		}
	default:
		if !strings.Contains(o.format, "%") {
			return cli.Usagef("-f %s: want value, raw, json, pretty, or a text with verbs such as '%%k %%v\\n'", o.format)
		}
	}
	var err error
	if o.layout, err = recordfmt.ParseLayout(layout); err != nil {
		return cli.Usagef("-f: %v", err)
	}
	return nil
}

// parseRange reads -o: a position, or FROM:TO. Colons within times make the
// place of the one between them a matter of trying.
func parseRange(s string, now time.Time) (client.Position, *client.Position, error) {
	if p, ok := parsePosition(s, now); ok {
		return p, nil, nil
	}
	for i := range len(s) {
		if s[i] != ':' {
			continue
		}
		from, okFrom := client.Start(), s[:i] == ""
		if !okFrom {
			from, okFrom = parsePosition(s[:i], now)
		}
		right := s[i+1:]
		if strings.HasPrefix(s, "@") && right != "end" && !strings.HasPrefix(right, "@") {
			right = "@" + right // @t1:t2
		}
		to, okTo := parsePosition(right, now)
		if okFrom && okTo {
			return from, &to, nil
		}
	}
	return client.Position{}, nil, cli.Usagef("-o %s: want start, end, 42, +5, -10, @-1h, @2026-01-02T03:04:05Z, or a range FROM:TO", s)
}

func parsePosition(s string, now time.Time) (client.Position, bool) {
	switch s {
	case "start", "beginning", "earliest":
		return client.Start(), true
	case "end", "latest":
		return client.End(), true
	case "":
		return client.Position{}, false
	}
	if at, ok := strings.CutPrefix(s, "@"); ok {
		t, ok := cli.ParseTime(at, now)
		return client.AtTime(t), ok
	}
	n, err := strconv.ParseInt(s, 10, 64)
	switch {
	case err != nil:
		return client.Position{}, false
	case s[0] == '+':
		return client.AfterStart(n), true
	case s[0] == '-':
		return client.BeforeEnd(-n), true
	default:
		return client.At(n), true
	}
}
