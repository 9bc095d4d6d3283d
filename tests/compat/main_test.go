package compat

import (
	"context"
	"flag"
	"fmt"
	"os"
	"testing"
	"time"
)

// theBroker is what all tests talk to; TestMain sets it before any of them runs.
var theBroker *target

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(run(m))
}

func run(m *testing.M) int {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	b, err := openTarget(ctx)
	if err != nil {
		fmt.Fprintln(os.Stderr, "compat:", err)
		return 1
	}
	theBroker = b
	code := m.Run()
	return b.close(code)
}
