// Package compare measures systems beside each other on one machine: it starts each of them, runs the same scenarios on them
// in turn (A B, B A, …), repeats rounds in which the disk changed, and collects the results as a report.File.
package compare
