package main

import (
	"net"
	"os"
	"strconv"
	"strings"
	"testing"
)

func TestDoctor(t *testing.T) {
	dir := t.TempDir()
	free := func() string { return "127.0.0.1:" + strconv.Itoa(quietPort(t)) }
	good := []string{"doctor", "--set", "log.dirs=" + dir + "/not/there", "--set", "listeners=PLAINTEXT://" + free(), "--set", "http.listen=" + free(), "--set", "storage.reject.percent=0"}
	r := command(t, good...)
	for _, want := range []string{"settings", "open files", "disk space", "disk sync", "port of PLAINTEXT", "port of http.listen", "is free", "leads here"} {
		if !strings.Contains(r.out, want) {
			t.Errorf("lacks %q: %+v", want, r)
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("it leaves %v behind, %v", left, err)
	}
	l, err := net.Listen("tcp", free())
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() //nolint:errcheck // the test ends
	if r := command(t, append(good, "--set", "listeners=PLAINTEXT://"+l.Addr().String())...); r.code != exitFinding || !strings.Contains(r.out, "FAIL") {
		t.Errorf("a busy port: %+v", r)
	}
	// What is advertised is nobody's, or somebody else's.
	for address, want := range map[string]string{free(): "is not reached from here", l.Addr().String(): "is answered by something else"} {
		r := command(t, append(good, "--set", "advertised.listeners=PLAINTEXT://"+address)...)
		if r.code != exitOK || !strings.Contains(r.out, "WARN") || !strings.Contains(r.out, address+", which clients are told (advertised.listeners), "+want) {
			t.Errorf("advertised %s: %+v", address, r)
		}
	}
	if r := command(t, "doctor", "--set", "no.such=1"); r.code != exitFinding || !strings.Contains(r.out, "no.such") {
		t.Errorf("a bad setting: %+v", r)
	}
}
