// Command consumer reads topics and prints their records: values, one per
// line, or what a format says.
//
// It is a thin program over package client. Records go to stdout, what it says
// goes to stderr; it ends with 0 when it has read what it was asked for, 1 on a
// failure, 2 on a command line that makes no sense and 130 when it was
// interrupted.
package main
