// Package clienttest is a small cluster in memory for tests of clients: a few
// listeners on loopback that answer the requests package client makes, with
// one log per partition, leaders that move when a test says so, and answers
// that a test replaces or loses.
//
// It checks the sequences of idempotent batches as a broker does, so that
// losing, repeating or reordering them shows. It is no broker: nothing is
// stored, nothing is replicated, and input that a broker must refuse may pass.
package clienttest
