package client

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"

	kproto "github.com/segmentio/kafka-go/protocol"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/stelemq/stele/protocol"
)

// AnyBroker asks whichever broker answers, and Controller the one that the cluster names as such.
const (
	AnyBroker  int32 = -1
	Controller int32 = -2
)

// Request sends a request that this package has no method for to a broker, in the highest version that both sides know,
// and returns its answer. Errors in the answer are the caller's to read. Errors: ErrUnreachable, ErrUnsupported,
// ErrConnectionLost, ErrTimeout.
func (c *Client) Request(ctx context.Context, broker int32, req kmsg.Request) (kmsg.Response, error) {
	if broker == Controller {
		cluster, err := c.Cluster(ctx)
		if err != nil {
			return nil, err
		}
		broker = cluster.ControllerID
		if broker < 0 {
			return nil, &Error{Op: "ask the controller", Reason: "the cluster has none at present", Err: ErrUnreachable}
		}
	}
	connect := func() (*link, error) { return c.anyLink(ctx) }
	if broker >= 0 {
		connect = func() (*link, error) { return c.pool.get(ctx, broker) }
	}
	for again := false; ; again = true {
		l, err := connect()
		if err != nil {
			return nil, err
		}
		resp, err := l.request(ctx, req, &c.opts)
		if err == nil || again || !errors.Is(err, ErrConnectionLost) {
			return resp, err
		}
	}
}

// request is roundTrip for messages of kmsg.
func (l *link) request(ctx context.Context, req kmsg.Request, o *Options) (kmsg.Response, error) {
	r, ok := l.versions[kproto.ApiKey(req.Key())]
	version := min(r.hi, req.MaxVersion())
	if !ok || version < r.lo {
		return nil, &Error{
			Op: "ask " + l.addr, Reason: "the broker does not serve " + kmsg.NameForKey(req.Key()) + " in a version that this client speaks",
			Err: ErrUnsupported,
		}
	}
	req.SetVersion(version)
	answers := make(chan answer, 1)
	so := sendOptions{timeout: o.RequestTimeout, finish: func(a answer) { answers <- a }}
	call := &call{key: kproto.ApiKey(req.Key()), version: version, raw: true, finish: so.finish}
	l.exchange(call, so, func(id int32) error {
		_, err := l.conn.Write(kmsg.NewRequestFormatter(kmsg.FormatterClientID(l.clientID)).AppendRequest(nil, req, id))
		return err //nolint:wrapcheck // the caller does
	})
	var a answer
	select {
	case a = <-answers:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if a.err != nil {
		return nil, a.err
	}
	resp := req.ResponseKind()
	resp.SetVersion(version)
	body := a.body
	if resp.IsFlexible() && len(body) > 0 { // the tags of the header: brokers send none
		body = body[1:]
	}
	if err := resp.ReadFrom(body); err != nil {
		return nil, fmt.Errorf("%w: decode the answer to %s: %w", ErrConnectionLost, kmsg.NameForKey(req.Key()), err)
	}
	return resp, nil
}

// ControllerEndpoints asks where the brokers of a cluster reach each other, host:port.
func (c *Client) ControllerEndpoints(ctx context.Context) ([]string, error) {
	req := kmsg.NewPtrDescribeClusterRequest()
	req.EndpointType = 2 // controllers
	resp, err := c.Request(ctx, AnyBroker, req)
	if err != nil {
		return nil, err
	}
	res := resp.(*kmsg.DescribeClusterResponse) //nolint:errcheck,forcetypeassert // decoded as such
	text := ""
	if res.ErrorMessage != nil {
		text = *res.ErrorMessage
	}
	if err := codeError("ask for the addresses of brokers", res.ErrorCode, text); err != nil {
		return nil, err
	}
	var out []string
	for _, b := range res.Brokers {
		out = append(out, net.JoinHostPort(b.Host, strconv.Itoa(int(b.Port))))
	}
	if len(out) == 0 {
		return nil, &Error{Op: "ask for the addresses of brokers", Reason: "the cluster names none", Code: protocol.BrokerNotAvailable, Err: ErrUnreachable}
	}
	return out, nil
}
