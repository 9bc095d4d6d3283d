package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/stelemq/stele/internal/config"
	"github.com/stelemq/stele/internal/vfs"
)

// finding is the outcome of one check.
type finding struct {
	Check  string `json:"check"`
	Status string `json:"status"`
	Detail string `json:"detail"`
}

// Outcomes.
const (
	findingOK   = "OK"
	findingWarn = "WARN"
	findingFail = "FAIL"
)

func newDoctor(s streams) *cobra.Command {
	var f configFlags
	var o output
	cmd := &cobra.Command{
		Use: "doctor", Short: "Look whether a broker would run well on this machine", GroupID: groupRun, Args: cobra.NoArgs,
		Long: `Checks, before a broker is started: settings, limit of open files, space and speed of the disk, ports, and
whether the advertised addresses lead back here. It writes a small file beside the data and opens the listeners for a moment. Exit code 10 if something would fail.`,
		Example: "  broker doctor -c /etc/broker/broker.yaml\n  broker doctor --set log.dirs=/data -o json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.check(); err != nil {
				return err
			}
			findings := examine(cmd.Context(), &f)
			a := answer{kind: "Findings", items: findings, sections: []section{{header: []string{"CHECK", "STATUS", "DETAIL"}}}}
			failed := false
			for _, x := range findings {
				failed = failed || x.Status == findingFail
				a.names = append(a.names, x.Check)
				a.sections[0].rows = append(a.sections[0].rows, []string{x.Check, x.Status, x.Detail})
			}
			if err := o.write(s.out, a); err != nil {
				return err
			}
			if failed {
				return &codeError{exitFinding, nil}
			}
			return nil
		},
	}
	f.addFlags(cmd.Flags(), true)
	o.addFlags(cmd.Flags())
	return cmd
}

// examine makes all checks that the settings allow.
func examine(ctx context.Context, f *configFlags) []finding {
	c, err := f.load(false)
	if err != nil {
		return []finding{{"settings", findingFail, strings.ReplaceAll(err.Error(), "\n", "; ")}}
	}
	out := []finding{{"settings", findingOK, plural(len(c.Lines(true)), "setting") + " differ from the defaults"}}
	for _, w := range c.Warnings {
		out = append(out, finding{"settings", findingWarn, w.String()})
	}
	out = append(out, examineFiles())
	out = append(out, examineDisk(c)...)
	out = append(out, examinePorts(c)...)
	return append(out, examineReach(ctx, c)...)
}

// filesWanted is how many files a broker with a thousand partitions has open.
const filesWanted = 10_000

// syncs is how many writes are synced to judge a disk; slowSync is slow for acknowledgements, and stalledSync so slow that
// other brokers take over.
const (
	syncs       = 100
	slowSync    = 20 * time.Millisecond
	stalledSync = 150 * time.Millisecond
)

func examineDisk(c *config.Config) []finding {
	dir := existing(c.LogDirs[0])
	free, total, err := vfs.OS{}.Free(dir)
	if err != nil {
		return []finding{{"disk", findingFail, err.Error()}}
	}
	space := finding{"disk space", findingOK, fmt.Sprintf("%s of %s free at %s", humanBytes(int64(free)), humanBytes(int64(total)), dir)} //nolint:gosec // sizes of disks
	if percent := int64(free * 100 / max(total, 1)); percent < c.ReservePercent {                                                         //nolint:gosec // at most 100
		space.Status = findingFail
		space.Detail += fmt.Sprintf(": producers are refused below %d %% (storage.reject.percent)", c.ReservePercent)
	}
	p99, err := measureSync(dir)
	if err != nil {
		return []finding{space, {"disk sync", findingFail, err.Error()}}
	}
	speed := finding{"disk sync", findingOK, fmt.Sprintf("%s for 99 of 100 writes of 4 KiB", p99.Round(10*time.Microsecond))}
	switch {
	case p99 > stalledSync:
		speed.Status = findingFail
		speed.Detail += ": leaders would lose their leaderships; use another disk"
	case p99 > slowSync:
		speed.Status = findingWarn
		speed.Detail += ": every acknowledgement waits for it"
	}
	return []finding{space, speed}
}

// existing is a directory, or the nearest one above it that is there.
func existing(dir string) string {
	for {
		if info, err := os.Stat(dir); err == nil && info.IsDir() || dir == filepath.Dir(dir) {
			return dir
		}
		dir = filepath.Dir(dir)
	}
}

// measureSync returns how long nearly all small writes take to be on the disk.
func measureSync(dir string) (p99 time.Duration, err error) {
	f, err := os.CreateTemp(dir, ".doctor-")
	if err != nil {
		return 0, err //nolint:wrapcheck // says operation and path
	}
	defer func() { err = errors.Join(err, f.Close(), os.Remove(f.Name())) }()
	var took []time.Duration
	for range syncs {
		began := time.Now()
		if _, err := f.Write(make([]byte, 4<<10)); err != nil {
			return 0, err //nolint:wrapcheck // says operation and path
		}
		if err := f.Sync(); err != nil {
			return 0, err //nolint:wrapcheck // says operation and path
		}
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	return took[syncs*99/100-1], nil
}

func examinePorts(c *config.Config) []finding {
	var out []finding
	look := func(name, address string) {
		x := finding{"port of " + name, findingOK, address + " is free"}
		if err := checkFree(address, "stop it, or set another address"); err != nil {
			x.Status, x.Detail = findingFail, err.Error()
		}
		out = append(out, x)
	}
	for _, l := range c.Open() {
		if l.Port != 0 {
			look(l.Name, l.Address())
		}
	}
	if address := httpListen(c); address != "" && !strings.HasSuffix(address, ":0") {
		look("http.listen", address)
	}
	return out
}
