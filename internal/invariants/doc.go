// Package invariants checks, in test builds, what must hold whatever the input: it is on under the
// build tag "invariants" and under the race detector, and costs nothing otherwise.
//
// A violated invariant panics: the state is wrong and must not be acted upon. Bad input is never an
// invariant.
package invariants
