// Package report keeps what benchmarks measured: as JSON, as tables of text, as one self-contained page of HTML, and as the
// difference of two files.
package report
