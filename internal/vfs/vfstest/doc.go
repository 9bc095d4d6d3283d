// Package vfstest shows that no sync call is superfluous: it runs a test on file systems that leave out one kind of them,
// and the test must fail. Tests only.
package vfstest
