package bootstrap

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stelemq/stele/dledger/transport"
	"github.com/stelemq/stele/internal/vfs"
)

// testNode is a node before its host is opened.
type testNode struct {
	state *State
	t     *transport.Transport
	b     *Bootstrap
	mu    sync.Mutex
	said  []string // mu guards
}

// nodes makes founders that know each other's addresses. Their directories are below dir.
func nodes(t *testing.T, dir string, n int) []*testNode {
	t.Helper()
	var listeners []net.Listener
	var founders []Peer
	for i := range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		listeners = append(listeners, l)
		founders = append(founders, Peer{int32(i + 1), l.Addr().String()})
	}
	var out []*testNode
	for i := range n {
		id := int32(i + 1)
		s, err := Open(filepath.Join(dir, string(rune('a'+i))), Settings{NodeID: id, Founders: founders})
		if err != nil {
			t.Fatal(err)
		}
		tr := transport.New(transport.Config{NodeID: id, Listener: listeners[i], Logger: slog.New(slog.DiscardHandler)})
		nd := &testNode{state: s, t: tr}
		nd.b = &Bootstrap{State: s, Transport: tr, Address: founders[i].Address, Grace: 200 * time.Millisecond, Say: nd.say}
		out = append(out, nd)
		t.Cleanup(func() {
			_ = tr.Close()
			_ = s.Close()
		})
	}
	return out
}

func (n *testNode) say(line string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.said = append(n.said, line)
}

func (n *testNode) heard(words string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return strings.Contains(strings.Join(n.said, "\n"), words)
}

func (n *testNode) run(ctx context.Context) <-chan error {
	done := make(chan error, 1)
	go func() { done <- n.b.Run(ctx) }()
	return done
}

func TestFound_AllAgree(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	all := nodes(t, t.TempDir(), 3)
	var done []<-chan error
	for i := range all {
		done = append(done, all[2-i].run(ctx))
	}
	for _, d := range done {
		if err := <-d; err != nil {
			t.Fatal(err)
		}
	}
	cluster := all[0].state.Identity().ClusterID
	for i, n := range all {
		id := n.state.Identity()
		if id.ClusterID != cluster || cluster == "" || id.MetadataReplica != uint64(i+1) || len(n.state.Founders()) != 3 {
			t.Errorf("node %d is %+v of founders %v, the first is of %s", i+1, id, n.state.Founders(), cluster)
		}
		if known := n.state.Known(); len(known) != 2 {
			t.Errorf("node %d knows %v", i+1, known)
		}
	}
}

// Who was not there does not become a founder's replica, whatever its id: its disk may be a new one.
func TestFound_LateNodeIsNoFounder(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	all := nodes(t, t.TempDir(), 3)
	first, second := all[0].run(ctx), all[1].run(ctx)
	for _, d := range []<-chan error{first, second} {
		if err := <-d; err != nil {
			t.Fatal(err)
		}
	}
	if !all[0].heard("then without (have 2/3") {
		t.Errorf("node 1 said %q", all[0].said)
	}
	late, stop := context.WithCancel(ctx)
	third := all[2].run(late)
	for !all[2].heard("waiting to join") { // nobody answers join here: there is no host
		select {
		case err := <-third:
			t.Fatalf("the late node is %+v, %v", all[2].state.Identity(), err)
		case <-time.After(time.Millisecond):
		}
	}
	stop()
	if err := <-third; !errors.Is(err, context.Canceled) || all[2].state.Member() {
		t.Errorf("the late node: %v, %+v", err, all[2].state.Identity())
	}
}

// A founder that is the only one there founds nothing: the others may have a cluster that it has forgotten.
func TestFound_NeedsAMajority(t *testing.T) {
	all := nodes(t, t.TempDir(), 3)
	_ = all[1].t.Close()
	_ = all[2].t.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if err := <-all[0].run(ctx); !errors.Is(err, context.DeadlineExceeded) || all[0].state.Member() {
		t.Errorf("alone: %v, %+v", err, all[0].state.Identity())
	}
	if !all[0].heard("waiting for 1 more peer (have 1/3: 2@") || !all[0].heard("connection refused") {
		t.Errorf("it said %q", all[0].said)
	}
}

func TestFound_PeersMustAgree(t *testing.T) {
	all := nodes(t, t.TempDir(), 3)
	all[1].state.settings.Founders = all[1].state.settings.Founders[:2]
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	first, second := all[0].run(ctx), all[1].run(ctx)
	if err := errors.Join(<-first, <-second); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("founded by founders that disagree: %v", err)
	}
	if !all[0].heard("its cluster.peers names the nodes 1, 2") {
		t.Errorf("it said %q", all[0].said)
	}
}

// A node that ends at any point of the founding comes back as what the others believe it to be.
func TestFound_CrashBetweenTheFiles(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(dir, Settings{NodeID: 2})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Write(); err != nil { // as it is while it waits
		t.Fatal(err)
	}
	before, err := os.ReadFile(filepath.Join(dir, MetaName))
	if err != nil {
		t.Fatal(err)
	}
	f := &Founding{ClusterID: "c", Founders: []int32{1, 2, 3}, Directories: map[int32]string{1: "x", 2: s.Identity().DirectoryID}}
	if err := s.found(f); err != nil {
		t.Fatal(err)
	}
	want := s.Identity()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	// meta.properties is written last: without it the node asks again, and hears the same founding.
	if err := os.WriteFile(filepath.Join(dir, MetaName), before, 0o600); err != nil {
		t.Fatal(err)
	}
	if s, err = Open(dir, Settings{NodeID: 2}); err != nil {
		t.Fatal(err)
	}
	if s.Member() || s.Identity().DirectoryID != want.DirectoryID {
		t.Errorf("after the crash: %+v, want no member with directory %s", s.Identity(), want.DirectoryID)
	}
	if err := s.found(f); err != nil {
		t.Fatal(err)
	}
	if got := s.Identity(); got != want || s.Close() != nil {
		t.Errorf("%+v, want %+v", got, want)
	}
	// The other way round: meta.properties was lost, peers.json says the same.
	if err := os.Remove(filepath.Join(dir, MetaName)); err != nil {
		t.Fatal(err)
	}
	if s, err = Open(dir, Settings{NodeID: -1}); err != nil || s.Identity() != want {
		t.Fatalf("without %s: %+v, %v", MetaName, s.Identity(), err)
	}
	if _, err := Open(dir, Settings{NodeID: -1}); !errors.Is(err, vfs.ErrLocked) {
		t.Errorf("in use: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestOpen_Refusals(t *testing.T) {
	dir := t.TempDir()
	if err := writeIdentity(dir, Identity{NodeID: 1, ClusterID: "c", DirectoryID: "d", MetadataReplica: 1}); err != nil {
		t.Fatal(err)
	}
	unnamed := t.TempDir()
	if err := os.Mkdir(filepath.Join(unnamed, "raft"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		dir, want string
		settings  Settings
	}{
		{dir, "belongs to node 1, but node.id is 2 (--set). Set node.id=1", Settings{NodeID: 2, NodeOrigin: "--set"}},
		{dir, "belongs to cluster c, but cluster.id is x (b.yaml:1)", Settings{NodeID: -1, ClusterID: "x", ClusterOrigin: "b.yaml:1"}},
		{unnamed, "holds data but neither meta.properties nor peers.json", Settings{NodeID: 1, Join: []string{"h:1"}}},
	} {
		s, err := Open(row.dir, row.settings)
		if !errors.Is(err, ErrDirectory) || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%+v: %v, want %q", row.settings, err, row.want)
		}
		if err == nil {
			_ = s.Close()
		}
	}
}

// A directory of a version that knew one broker only is that of a lone founder.
func TestOpen_AdoptsOldDirectories(t *testing.T) {
	dir := t.TempDir()
	if err := writeIdentity(dir, Identity{NodeID: 4, ClusterID: "c"}); err != nil {
		t.Fatal(err)
	}
	s, err := Open(dir, Settings{NodeID: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close() //nolint:errcheck // the test ends
	if id := s.Identity(); id.MetadataReplica != 1 || id.NodeID != 4 || id.DirectoryID == "" || s.Founders()[1] != 4 {
		t.Errorf("%+v, founders %v", id, s.Founders())
	}
}

func TestLearn_NewestRegistrationHolds(t *testing.T) {
	s, err := Open(t.TempDir(), Settings{NodeID: 1, Founders: []Peer{{1, "a:1"}, {3, "pinned:3"}}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close() //nolint:errcheck // the test ends
	if err := s.found(&Founding{Founders: []int32{1}}); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		name, want string
		node       Node
		changed    bool
	}{
		{"first", "b:2", Node{ID: 2, Address: "b:2", Replica: 101, Epoch: 5}, true},
		{"an old one is replayed", "b:2", Node{ID: 2, Address: "old:2", Epoch: 3}, false},
		{"the same again", "b:2", Node{ID: 2, Address: "b:2", Replica: 101, Epoch: 5}, false},
		{"it moved", "c:2", Node{ID: 2, Address: "c:2", Epoch: 9}, true},
	} {
		changed, err := s.Learn([]Node{row.node})
		if err != nil || (len(changed) > 0) != row.changed || s.Addresses()[2] != row.want {
			t.Errorf("%s: changed %v, %v, address %s, want %s", row.name, changed, err, s.Addresses()[2], row.want)
		}
	}
	if changed, err := s.Learn([]Node{{ID: 3, Address: "learnt:3", Epoch: 9}}); err != nil || len(changed) > 0 || s.Addresses()[3] != "pinned:3" {
		t.Errorf("cluster.peers is not stronger: %v, %v, %v", changed, err, s.Addresses())
	}
	if p, err := readPeers(s.dir); err != nil || len(p.Nodes) != 2 || p.Nodes[0].Address != "c:2" {
		t.Errorf("kept %+v, %v", p, err)
	}
}

func TestBind_Addresses(t *testing.T) {
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close() //nolint:errcheck // the test ends
	taken := busy.Addr().(*net.TCPAddr).Port
	open := func(dir string, settings Settings) *State {
		s, err := Open(dir, settings)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		return s
	}
	s := open(t.TempDir(), Settings{NodeID: 1})
	if _, _, err := s.Bind(t.Context(), Listening{Listen: busy.Addr().String()}); err == nil {
		t.Error("an address that is taken was bound")
	}
	// Found out by itself it moves away from a port that is taken, and stays there.
	w := Listening{ClientHost: "127.0.0.1", ClientPort: taken - portDistance, AdvertisedHost: "broker.example.com"}
	l, told, err := s.Bind(t.Context(), w)
	if err != nil || !strings.HasPrefix(told, "broker.example.com:") || l.Addr().(*net.TCPAddr).Port == taken {
		t.Fatalf("bound %v, told %s, %v", l, told, err)
	}
	_ = l.Close()
	again, toldAgain, err := s.Bind(t.Context(), w)
	if err != nil || toldAgain != told {
		t.Errorf("the second time %s, %v, the first %s", toldAgain, err, told)
	}
	_ = again.Close()
	// A founder uses its entry, and after it was taken out of the settings, too.
	free := told[strings.LastIndex(told, ":")+1:]
	dir := t.TempDir()
	founder := open(dir, Settings{NodeID: 1, Founders: []Peer{{1, "127.0.0.1:" + free}, {2, "127.0.0.1:1"}}})
	for range 2 {
		l, told, err = founder.Bind(t.Context(), Listening{ClientHost: "127.0.0.1"})
		if err != nil || told != "127.0.0.1:"+free || l.Addr().String() != told {
			t.Fatalf("bound %v, told %s, %v", l, told, err)
		}
		_ = l.Close()
		founder.settings.Founders = nil
	}
}
