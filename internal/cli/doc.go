// Package cli is what the programs share on the command line: flags that name a
// cluster, values with units, exit codes, terminals.
//
// A program is a run function that returns an error; Main turns it into a
// process. Data goes to stdout, talk to stderr.
package cli
