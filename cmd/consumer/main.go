package main

import (
	"os"

	"github.com/stelemq/stele/internal/cli"
)

func main() {
	os.Exit(cli.Main(run))
}
