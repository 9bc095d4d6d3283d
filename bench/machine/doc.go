// Package machine says what a measurement ran on: the machine's facts, a probe of how fast its disk syncs, and what
// processes used of processor, memory and disk. Outside Linux some of it is unknown and left zero.
package machine
