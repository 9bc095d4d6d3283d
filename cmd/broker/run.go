package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/stelemq/stele/internal/config"
)

// Exit codes, a contract with scripts.
const (
	exitOK          = 0
	exitFailure     = 1
	exitUsage       = 2
	exitFinding     = 10
	exitInterrupted = 130
)

// streams are the standard streams of the process.
type streams struct {
	in       io.Reader
	out, err io.Writer
}

// codeError carries an exit code with an error; a nil err has been reported already.
type codeError struct {
	code int
	err  error
}

func (e *codeError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}

func (e *codeError) Unwrap() error { return e.err }

func usageErrorf(format string, args ...any) error {
	return &codeError{exitUsage, fmt.Errorf(format, args...)}
}

// run is the program: it parses args, carries the command out and returns the exit code.
func run(ctx context.Context, args []string, s streams) int {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	// After the first signal the system's own handling holds again: a second one ends the process at once.
	defer context.AfterFunc(ctx, stop)()
	started := false
	root := newRoot(s)
	root.SetArgs(args)
	root.PersistentPreRunE = func(*cobra.Command, []string) error { started = true; return nil }
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return exitOK
	}
	code := exitCode(err, started)
	var reported *codeError
	if !errors.As(err, &reported) || reported.err != nil {
		printError(s.err, cmd, err, code)
	}
	return code
}

func exitCode(err error, started bool) int {
	var coded *codeError
	switch {
	case errors.As(err, &coded):
		return coded.code
	case !started, errors.Is(err, config.ErrInvalid):
		return exitUsage
	case errors.Is(err, context.Canceled):
		return exitInterrupted
	default:
		return exitFailure
	}
}

// printError writes the error, and for a mistake in the command line where to look.
func printError(w io.Writer, cmd *cobra.Command, err error, code int) {
	text := strings.TrimSpace(err.Error())
	switch {
	case code == exitInterrupted:
		fmt.Fprintln(w, "interrupted")
	case errors.Is(err, config.ErrInvalid):
		fmt.Fprintln(w, text)
	case code == exitUsage:
		fmt.Fprintf(w, "%s: %s\nSee: %s --help\n", cmd.CommandPath(), text, cmd.CommandPath())
	default:
		fmt.Fprintf(w, "%s: %s\n", cmd.CommandPath(), text)
	}
}
