// Command producer writes records to topics: lines of its input, records in a
// format or in JSON, or one message from the command line.
//
// It is a thin program over package client. What it says goes to stderr; it
// ends with 0 if every record was acknowledged, 1 if one was not, 2 on a
// command line that makes no sense and 130 when it was interrupted.
package main
