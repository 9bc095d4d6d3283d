// Package lint holds the house rules that a test can check: import directions, a doc.go in every
// package, sizes of files, words that do not belong into the repository. It has no code of its own.
package lint
