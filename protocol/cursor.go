package protocol

import (
	"encoding/binary"
	"fmt"
)

// cursor reads fields from a message. After the first error it reads zeros, and fail says what was wrong.
type cursor struct {
	rest []byte
	bad  string // what could not be read; empty if all is well
}

func (c *cursor) fail(what string) {
	if c.bad == "" {
		c.bad = what
	}
	c.rest = nil
}

func (c *cursor) ok() bool { return c.bad == "" }

func (c *cursor) err() error {
	if c.bad == "" {
		return nil
	}
	return fmt.Errorf("%w: %s", ErrMalformed, c.bad)
}

// take returns the next n bytes; what names them in the error if there are fewer.
func (c *cursor) take(n int, what string) []byte {
	if n < 0 || n > len(c.rest) {
		c.fail(what)
		return nil
	}
	p := c.rest[:n:n]
	c.rest = c.rest[n:]
	return p
}

func (c *cursor) int16(what string) int16 {
	if p := c.take(2, what); p != nil {
		return int16(binary.BigEndian.Uint16(p))
	}
	return 0
}

func (c *cursor) int32(what string) int32 {
	if p := c.take(4, what); p != nil {
		return int32(binary.BigEndian.Uint32(p))
	}
	return 0
}

// uvarint reads a varint of at most 32 bits.
func (c *cursor) uvarint(what string) uint32 {
	var u uint32
	for i := range min(len(c.rest), 5) {
		b := c.rest[i]
		if i == 4 && b > 0x0f {
			break
		}
		u |= uint32(b&0x7f) << (7 * i)
		if b < 0x80 {
			c.rest = c.rest[i+1:]
			return u
		}
	}
	c.fail(what)
	return 0
}

// length reads a length as compact varint (one more than it, 0 for null) or as the plain integer of width 2 or 4. Null is -1.
func (c *cursor) length(compact bool, width int, what string) int {
	var n int
	switch {
	case compact:
		n = int(c.uvarint(what)) - 1
	case width == 2:
		n = int(c.int16(what))
	default:
		n = int(c.int32(what))
	}
	if n < -1 || n > len(c.rest) {
		c.fail(what)
		return -1
	}
	return n
}

// bytes reads a string (width 2) or bytes (width 4); nil is null.
func (c *cursor) bytes(compact bool, width int, what string) []byte {
	n := c.length(compact, width, what)
	if n < 0 {
		return nil
	}
	return c.take(n, what)
}

// array reads the length of an array that cannot be null and whose elements take at least minElem bytes each.
func (c *cursor) array(compact bool, minElem int, what string) int {
	n := c.length(compact, 4, what)
	if n < 0 || n > len(c.rest)/minElem {
		c.fail(what)
		return 0
	}
	return n
}

// tags reads tagged fields and hands them to f, if there is one. They must ascend, so none stands twice.
func (c *cursor) tags(what string, f func(tag uint32, value []byte)) {
	n := c.uvarint(what)
	if int64(n) > int64(len(c.rest)/2) { // a tag and a length take a byte each at least
		c.fail(what)
		return
	}
	last := int64(-1)
	for range n {
		tag := c.uvarint(what)
		value := c.bytesOf(c.uvarint(what), what)
		if !c.ok() {
			return
		}
		if int64(tag) <= last {
			c.fail(what)
			return
		}
		last = int64(tag)
		if f != nil {
			f(tag, value)
		}
	}
}

func (c *cursor) bytesOf(n uint32, what string) []byte {
	if int64(n) > int64(len(c.rest)) {
		c.fail(what)
		return nil
	}
	return c.take(int(n), what)
}
