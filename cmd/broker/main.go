package main

import (
	"context"
	"os"
)

// version is set by the linker; see the Makefile.
var version = "devel" //nolint:gochecknoglobals // the linker sets variables only

func main() {
	os.Exit(run(context.Background(), os.Args[1:], streams{in: os.Stdin, out: os.Stdout, err: os.Stderr}))
}
