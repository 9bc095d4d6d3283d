package broker

import (
	"encoding/json"
	"io"
	"net/http"
	"testing"

	"github.com/stelemq/stele/broker/metadata"
	"github.com/stelemq/stele/dledger"
)

// admin sends a request to the admin API and decodes the answer.
func admin(t *testing.T, b *testBroker, method, path string, out any, change ...func(*http.Request)) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://"+b.HTTPAddr().String()+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range change {
		f(req)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if out != nil {
		if err := json.Unmarshal(body, out); err != nil {
			t.Fatalf("%s %s: %v: %s", method, path, err, body)
		}
	}
	return resp.StatusCode
}

func TestAdmin_Nodes(t *testing.T) {
	b := startBroker(t, withHTTP)
	b.addNodes(t, 2, 3)
	b.place(t, "wide", 1, []int32{1, 2, 3})
	b.place(t, "narrow", 2, []int32{1})
	b.host.log(t, "wide", 0)
	b.host.log(t, "narrow", 0)
	var all struct{ Nodes []nodeReport }
	if code := admin(t, b, "GET", "/admin/v1/nodes", &all); code != 200 || len(all.Nodes) != 3 || all.Nodes[0].Replicas != 2 || all.Nodes[0].Preferred != 2 || all.Nodes[1].State != "active" {
		t.Errorf("%d %+v", code, all)
	}
	var node nodeReport
	if code := admin(t, b, "POST", "/admin/v1/nodes/1/drain", &node); code != 200 || node.State != "draining" || len(node.Blocked) != 2 || node.Blocked[0].Reason == "" {
		t.Errorf("%d %+v", code, node)
	}
	if code := admin(t, b, "POST", "/admin/v1/nodes/1/undrain", &node); code != 200 || node.State != "active" {
		t.Errorf("%d %+v", code, node)
	}
	var refused struct {
		Error, Code string
		Blocked     []blockedPartition
	}
	if code := admin(t, b, "POST", "/admin/v1/nodes/2/decommission", &refused); code != 409 || refused.Code != "INVALID_REPLICATION_FACTOR" || len(refused.Blocked) != 1 || refused.Blocked[0].Topic != "wide" {
		t.Errorf("%d %+v", code, refused)
	}
	if code := admin(t, b, "POST", "/admin/v1/nodes/2/decommission?force=true", &node); code != 200 || node.State != "decommissioning" {
		t.Errorf("%d %+v", code, node)
	}
	if br, _ := b.host.machine.Image().Broker(2); br.State != metadata.NodeDecommissioning {
		t.Errorf("%+v", br)
	}
	for path, want := range map[string]int{"/admin/v1/nodes/9/drain": 404, "/admin/v1/nodes/x/drain": 400, "/admin/v1/nodes/9/moon": 404} {
		if code := admin(t, b, "POST", path, nil); code != want {
			t.Errorf("%s: %d, want %d", path, code, want)
		}
	}
	if code := admin(t, b, "GET", "/admin/v1/nodes/1", &node); code != 200 || node.Node != 1 {
		t.Errorf("%d %+v", code, node)
	}
	b.host.mu.Lock()
	b.host.proposeErr = dledger.ErrTimeout
	b.host.mu.Unlock()
	if code := admin(t, b, "POST", "/admin/v1/nodes/1/drain", &refused); code != 503 || refused.Code == "" {
		t.Errorf("without a majority of the metadata: %d %+v", code, refused)
	}
}

func TestAdmin_Partitions(t *testing.T) {
	b := startBroker(t, withHTTP)
	b.addNodes(t, 2)
	b.place(t, "t", 1, []int32{1, 2})
	log := b.host.log(t, "t", 0)
	log.mu.Lock()
	log.status.Replica, log.status.Term, log.status.Leader = 1, 7, 1
	log.mu.Unlock()
	var report partitionReport
	if code := admin(t, b, "GET", "/admin/v1/partitions/t/0", &report); code != 200 || len(report.Replicas) != 2 || report.Leader != 1 ||
		report.Replicas[0].Term != 7 || report.Replicas[0].State != "voter" || report.Replicas[0].Error != "" || report.Replicas[1].Error == "" {
		t.Errorf("%d %+v", code, report)
	}
	if code := admin(t, b, "POST", "/admin/v1/partitions/t/0/transfer?to=2", nil); code != 200 {
		t.Errorf("transfer: %d", code)
	}
	log.mu.Lock()
	changes := len(log.changes)
	log.mu.Unlock()
	if changes != 1 {
		t.Errorf("%d changes", changes)
	}
	if code := admin(t, b, "POST", "/admin/v1/partitions/t/0/recover", nil); code != 202 || !b.partitionOf(t, "t", 0).Recover {
		t.Errorf("recover: %d", code)
	}
	if code := admin(t, b, "DELETE", "/admin/v1/partitions/t/0/recover", nil); code != 202 || b.partitionOf(t, "t", 0).Recover {
		t.Errorf("cancel: %d", code)
	}
	for path, want := range map[string]int{
		"/admin/v1/partitions/x/0/recover": 404, "/admin/v1/partitions/t/1/recover": 404, "/admin/v1/partitions/t/-1/recover": 404,
		"/admin/v1/partitions/t/y/recover": 404, "/admin/v1/partitions/t/0/transfer": 400, "/admin/v1/partitions/x/0/transfer?to=1": 404,
	} {
		if code := admin(t, b, "POST", path, nil); code != want {
			t.Errorf("%s: %d, want %d", path, code, want)
		}
	}
}

func TestAdmin_AnswersNoPageOfSomebodyElse(t *testing.T) {
	b := startBroker(t, withHTTP)
	for name, f := range map[string]func(*http.Request){
		"a page of another site":     func(r *http.Request) { r.Header.Set("Origin", "http://evil.example") },
		"a name made to point here":  func(r *http.Request) { r.Host = "evil.example" },
		"a proxy on the machine":     func(r *http.Request) { r.Header.Set("X-Forwarded-For", "10.0.0.1") },
		"a name, with the port here": func(r *http.Request) { r.Host = "evil.example:1" },
	} {
		if code := admin(t, b, "POST", "/admin/v1/nodes/1/drain", nil, f); code != 404 {
			t.Errorf("%s: %d", name, code)
		}
	}
	if br, _ := b.host.machine.Image().Broker(1); br.State != metadata.NodeActive {
		t.Error("drained")
	}
	if code := admin(t, b, "GET", "/admin/v1/nodes", nil, func(r *http.Request) { r.Host = "localhost" }); code != 200 {
		t.Error(code)
	}
}
