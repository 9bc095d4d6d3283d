package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

// Exit codes of all programs.
const (
	ExitOK          = 0
	ExitFailure     = 1
	ExitUsage       = 2
	ExitInterrupted = 130
)

// ErrInterrupted is what a run function returns when it stopped on Ctrl-C and
// has said all that there is to say.
var ErrInterrupted = errors.New("interrupted")

// UsageError is a command line that cannot be carried out.
type UsageError struct{ Err error }

// Error returns the cause's text.
func (e *UsageError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *UsageError) Unwrap() error { return e.Err }

// Usagef returns a UsageError.
func Usagef(format string, args ...any) error { return &UsageError{fmt.Errorf(format, args...)} }

// ExitCode is the exit code for what a run function returned.
func ExitCode(err error) int {
	var usage *UsageError
	switch {
	case err == nil:
		return ExitOK
	case errors.Is(err, ErrInterrupted):
		return ExitInterrupted
	case errors.As(err, &usage):
		return ExitUsage
	default:
		return ExitFailure
	}
}

// Main runs a program until it ends or is interrupted, prints its error, and
// returns its exit code. A second Ctrl-C ends the process at once.
func Main(run func(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) error) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // the default action is back
	err := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	PrintError(os.Stderr, err)
	return ExitCode(err)
}

// PrintError prints what a run function returned, in one line; for a usage
// error, with where to read more.
func PrintError(stderr io.Writer, err error) {
	var usage *UsageError
	switch {
	case err == nil, errors.Is(err, ErrInterrupted):
	case errors.As(err, &usage):
		_, _ = fmt.Fprintf(stderr, "%v\nSee --help.\n", err)
	default:
		_, _ = fmt.Fprintln(stderr, err)
	}
}

// Execute runs a cobra command and makes errors of the command line usage
// errors.
func Execute(ctx context.Context, cmd *cobra.Command, args []string, stdout, stderr io.Writer) error {
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	cmd.SetArgs(args)
	cmd.SetOut(stdout)
	cmd.SetErr(stderr)
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return &UsageError{err} })
	cmd.SetHelpTemplate(helpTemplate)
	return cmd.ExecuteContext(ctx) //nolint:wrapcheck // the program's own error
}

// helpTemplate leads with examples.
const helpTemplate = `{{.Short}}

{{if .HasExample}}{{.Example}}

{{end}}Usage:
  {{.UseLine}}
{{if .HasAvailableLocalFlags}}
Flags:
{{.LocalFlags.FlagUsages | trimTrailingWhitespaces}}
{{end}}{{with .Long}}
{{.}}
{{end}}`

// NoArgs refuses positional arguments.
func NoArgs(_ *cobra.Command, args []string) error {
	if len(args) > 0 {
		return Usagef("unexpected argument %q", args[0])
	}
	return nil
}
