package main

import (
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stelemq/stele/internal/cli"
)

func TestDevCluster_KillStartStop(t *testing.T) {
	t.Setenv(envAsProgram, "1") // the brokers are this very program
	t.Chdir(t.TempDir())
	port := quietPort(t)
	began := time.Now()
	up := command(t, "dev", "-n", "3", "--port", strconv.Itoa(port), "--set", "storage.reject.percent=0")
	t.Cleanup(func() { command(t, "dev", "stop", "--purge") })
	if up.code != 0 {
		t.Fatalf("%+v", up)
	}
	t.Logf("ready after %s", time.Since(began))
	list := strings.TrimSpace(up.out)
	if strings.Count(list, ",") != 2 || !strings.HasPrefix(list, local(port)+",") {
		t.Errorf("the bootstrap list is %q", list)
	}
	row := func(args string, code int, out, err string) {
		t.Helper()
		got := command(t, strings.Fields(args)...)
		if got.code != code || !strings.Contains(got.out, out) || !strings.Contains(got.err, err) {
			t.Errorf("broker %s: %+v, want code %d, %q and %q", args, got, code, out, err)
		}
	}
	row("dev -n 3", exitFailure, "", "runs already (3 of 3 brokers)")
	row("topic create events -p 6 -r 3", exitOK, "6 partitions × 3 replicas", "") // finds the cluster by itself
	row("dev kill 4", exitUsage, "", "the brokers are 1 to 3")
	row("dev start 2", exitFailure, "", "runs already")
	row("dev kill 2", exitOK, "", "broker 2 killed")
	row("dev kill 2", exitFailure, "", "does not run")
	row("dev status", exitOK, "2     stopped", "")
	row("dev start 2", exitOK, "", "broker 2 serves")
	row("dev status -o json", exitOK, `"kind": "DevCluster"`, "")
	row("dev stop", exitOK, "", "data is kept in data-dev")
	if cli.DefaultBrokers() != cli.DefaultBootstrap {
		t.Errorf("a stopped cluster is still the default: %s", cli.DefaultBrokers())
	}
	row("dev -n 5", exitFailure, "", "keeps a cluster of 3 brokers")
	row("dev", exitOK, list, "3 brokers, ready")
	row("topic list -o name", exitOK, "events\n", "")
	row("dev stop --purge", exitOK, "", "removed")
	row("dev status", exitFailure, "", "there is no development cluster")
	if left, _ := filepath.Glob("*"); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestDevCluster_SaysWhatABrokerSaidThatEnded(t *testing.T) {
	t.Setenv(envAsProgram, "1")
	t.Chdir(t.TempDir())
	got := command(t, "dev", "-n", "1", "--port", strconv.Itoa(quietPort(t)), "--set", "nonsense=1")
	if got.code != exitFailure || !strings.Contains(got.err, "broker 1 ended") || !strings.Contains(got.err, `unknown key "nonsense"`) {
		t.Errorf("%+v", got)
	}
}
