package client

import (
	"context"
	"errors"
	"net"
	"os"
	"strings"
	"syscall"

	"github.com/stelemq/stele/protocol"
)

// Errors that are compared with errors.Is.
var (
	// ErrClosed is returned by calls on a closed Client, Producer or Consumer.
	ErrClosed = errors.New("client: closed")
	// ErrUnreachable means that no connection to a broker could be made.
	ErrUnreachable = errors.New("client: cannot reach the broker")
	// ErrUnknownTopic means that a topic does not exist.
	ErrUnknownTopic = errors.New("client: topic does not exist")
	// ErrNoLeader means that a partition has no leader at present.
	ErrNoLeader = errors.New("client: partition has no leader")
	// ErrTimeout means that a broker did not answer in time. Whether it did
	// what it was asked is unknown.
	ErrTimeout = errors.New("client: no answer in time")
	// ErrConnectionLost means that the connection broke before the answer.
	// Whether the broker did what it was asked is unknown.
	ErrConnectionLost = errors.New("client: connection lost")
	// ErrTooLarge means that a record does not fit what the Producer was
	// given to work with.
	ErrTooLarge = errors.New("client: record too large")
	// ErrUnsupported means that the broker does not serve a request or the
	// version of it that is needed.
	ErrUnsupported = errors.New("client: not supported by the broker")
)

// Error is what failed, why, and what to do about it.
type Error struct {
	// Op is what failed, with its object: `create topic "logs"`. It may be
	// empty where Reason says it all.
	Op string
	// Code is Kafka's error code, if a broker answered one.
	Code protocol.Code
	// Reason is why it failed.
	Reason string
	// Hint is what to do about it, a whole sentence or nothing.
	Hint string
	// Err is the cause, for errors.Is and errors.As. It may be nil.
	Err error
}

// Error returns all of it in one line.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Op)
	if e.Op != "" && e.Reason != "" {
		b.WriteString(": ")
	}
	b.WriteString(e.Reason)
	if e.Hint != "" {
		b.WriteString(". ")
		b.WriteString(e.Hint)
	}
	return b.String()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Is makes an error found by its code: errors.Is(err, protocol.MessageTooLarge).
func (e *Error) Is(target error) bool {
	code, ok := target.(protocol.Code)
	return ok && code != protocol.None && code == e.Code
}

// Retriable tells whether the same call may succeed later.
func (e *Error) Retriable() bool {
	if e.Code != protocol.None {
		return e.Code.Retriable()
	}
	return errors.Is(e.Err, ErrUnreachable) || errors.Is(e.Err, ErrTimeout) ||
		errors.Is(e.Err, ErrConnectionLost) || errors.Is(e.Err, ErrNoLeader)
}

// Retriable tells whether the call that returned err may succeed later,
// unchanged. It is false for a nil error and for a context that ended.
func Retriable(err error) bool {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Retriable()
	}
	return errors.Is(err, ErrUnreachable) || errors.Is(err, ErrTimeout) ||
		errors.Is(err, ErrConnectionLost) || errors.Is(err, ErrNoLeader)
}

// Code returns Kafka's error code behind err, or protocol.None if no broker
// answered one.
func Code(err error) protocol.Code {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return protocol.None
}

// codeError is the error for a code in an answer; nil if the code is none.
func codeError(op string, code int16, message string) error {
	c := protocol.Code(code)
	if c == protocol.None {
		return nil
	}
	e := &Error{Op: op, Code: c, Reason: reasonOf(c), Err: c, Hint: hintOf(c)}
	if message = strings.TrimRight(strings.TrimSpace(message), "."); message != "" {
		e.Reason = message
	}
	return e
}

// reasonOf says in words what the most common codes mean; the rest keep
// Kafka's name.
func reasonOf(c protocol.Code) string {
	switch c {
	case protocol.UnknownTopicOrPartition:
		return "the topic or partition does not exist"
	case protocol.TopicAlreadyExists:
		return "the topic exists already"
	case protocol.InvalidTopicException:
		return "not a valid topic name (letters, digits, '.', '_' and '-', at most 249 of them)"
	case protocol.MessageTooLarge:
		return "larger than the broker accepts"
	case protocol.NotEnoughReplicas, protocol.NotEnoughReplicasAfterAppend:
		return "fewer replicas are in sync than min.insync.replicas asks for"
	case protocol.OffsetOutOfRange:
		return "the offset is outside the log"
	case protocol.TopicAuthorizationFailed, protocol.ClusterAuthorizationFailed, protocol.GroupAuthorizationFailed:
		return "not authorized"
	case protocol.InvalidReplicationFactor:
		return "the replication factor is larger than the number of brokers"
	default:
		return c.Error()
	}
}

func hintOf(c protocol.Code) string {
	switch c {
	case protocol.MessageTooLarge:
		return "Raise max.message.bytes of the topic, or send smaller records or batches"
	case protocol.InvalidReplicationFactor:
		return "Use a smaller replication factor, or add brokers"
	default:
		return ""
	}
}

// dialReason is the short cause of a failed dial, without the addresses that
// package net repeats in it.
func dialReason(err error) string {
	var dns *net.DNSError
	switch {
	case errors.As(err, &dns):
		return "no such host"
	case errors.Is(err, ErrConnectionLost): // by EOF or by a reset, as the kernel likes
		return "it closed the connection: not a Kafka listener, or one that wants TLS"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused"
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded), isNetTimeout(err):
		return "no answer"
	}
	var op *net.OpError
	if errors.As(err, &op) && op.Err != nil {
		return op.Err.Error()
	}
	return err.Error()
}

func isNetTimeout(err error) bool {
	var t net.Error
	return errors.As(err, &t) && t.Timeout()
}

// unreachable is the error for a bootstrap address that does not answer.
func unreachable(addr string, err error) error {
	return &Error{
		Reason: "cannot reach " + addr + " (" + dialReason(err) + ")",
		Hint:   "Is the broker running? Start one with: broker",
		Err:    errors.Join(ErrUnreachable, err),
	}
}

// notAdvertised is the error for a broker that was found through a bootstrap
// address that works, under an address that does not.
func notAdvertised(bootstrap, advertised string, err error) error {
	return &Error{
		Reason: bootstrap + " answered, but the broker says that it is to be reached at " + advertised +
			", which fails (" + dialReason(err) + ")",
		Hint: "Set advertised.listeners on the broker to an address that this machine can reach",
		Err:  errors.Join(ErrUnreachable, err),
	}
}
