package broker

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/stelemq/stele/protocol"
)

// ApiVersions: v0-v5
//
// Behaviour: says which APIs and versions are served. The response header is always version 0. A version
// above ours is answered by a v0 body with UNSUPPORTED_VERSION and the range of ApiVersions itself, and
// the connection stays open (KIP-511).
//
// Version notes: v3 names the client's software, INVALID_REQUEST if it does not look like a name; v5
// names the cluster and node the client believes to talk to, REBOOTSTRAP_REQUIRED if they are others
// (KIP-1242). v3 tells features, see features.go.

// clientSoftware is what a client says it is.
type clientSoftware struct{ name, version string }

func handleAPIVersions(c *conn, s *slot) error {
	if s.version > s.api.Max || s.version < 0 {
		resp := &kmsg.ApiVersionsResponse{Version: 0, ErrorCode: int16(protocol.UnsupportedVersion)}
		resp.ApiKeys = []kmsg.ApiVersionsResponseApiKey{{ApiKey: keyApiVersions, MinVersion: s.api.Min, MaxVersion: s.api.Max}}
		c.b.metrics.requestError(s.api, protocol.UnsupportedVersion)
		return c.respondVersion(s, resp)
	}
	req := &kmsg.ApiVersionsRequest{Version: s.version}
	if err := protocol.ReadRequest(req, s.body, c.b.opts.Config.MaxRequestBytes); err != nil {
		return fmt.Errorf("%w: %w", errRequest, err)
	}
	resp := kmsg.NewPtrApiVersionsResponse()
	if code := c.checkClient(req); code != protocol.None {
		resp.ErrorCode = int16(code)
		c.b.metrics.requestError(s.api, code)
		return c.respond(s, resp)
	}
	for _, a := range protocol.APIs() {
		if _, served := c.b.apis[a.Key]; served {
			resp.ApiKeys = append(resp.ApiKeys, kmsg.ApiVersionsResponseApiKey{ApiKey: a.Key, MinVersion: a.Min, MaxVersion: a.Max})
		}
	}
	tellFeatures(resp, s.version, c.b.opts.Metadata.Image())
	return c.respond(s, resp)
}

func (c *conn) checkClient(req *kmsg.ApiVersionsRequest) protocol.Code {
	if req.Version >= 3 {
		if !validSoftware(req.ClientSoftwareName) || !validSoftware(req.ClientSoftwareVersion) {
			return protocol.InvalidRequest
		}
		if c.software == nil {
			s := c.b.metrics.clientConnected(clientSoftware{req.ClientSoftwareName, req.ClientSoftwareVersion})
			c.software = &s
		}
	}
	if req.Version >= 5 {
		if (req.ClusterID == nil) != (req.NodeID < 0) {
			return protocol.InvalidRequest
		}
		if req.ClusterID != nil && (*req.ClusterID != c.b.ClusterID() || req.NodeID != c.b.opts.NodeID) {
			return protocol.RebootstrapRequired
		}
	}
	return protocol.None
}

// validSoftware matches [a-zA-Z0-9](?:[a-zA-Z0-9\-.]*[a-zA-Z0-9])?
func validSoftware(s string) bool {
	if s == "" {
		return false
	}
	for i := range len(s) {
		c := s[i]
		alnum := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		inside := i > 0 && i < len(s)-1
		if !alnum && (!inside || c != '-' && c != '.') {
			return false
		}
	}
	return true
}
