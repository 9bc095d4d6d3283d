package transport

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"testing"
	"time"

	pb "github.com/lni/dragonboat/v4/raftpb"
)

// authority makes certificates.
type authority struct {
	t    *testing.T
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
	pool *x509.CertPool
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t, pool: x509.NewCertPool()}
	a.key, a.cert, _ = a.issue("authority", nil)
	a.pool.AddCert(a.cert)
	return a
}

func (a *authority) issue(name string, parent *x509.Certificate) (*ecdsa.PrivateKey, *x509.Certificate, []byte) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IsCA: parent == nil, BasicConstraintsValid: true, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	signer := a.key
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		a.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return key, cert, der
}

func (a *authority) node(t *testing.T, id int32) *rigNode {
	t.Helper()
	key, _, der := a.issue("node", a.cert)
	c := &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, RootCAs: a.pool, ClientCAs: a.pool,
		ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS13,
	}
	return newRigNode(t, rigConfig{
		node: id, wrap: func(l net.Listener) net.Listener { return tls.NewListener(l, c) },
		dial: func(ctx context.Context, address string) (net.Conn, error) {
			return (&tls.Dialer{Config: c}).DialContext(ctx, "tcp", address)
		},
	})
}

func TestTLS_EverythingWorks(t *testing.T) {
	ca := newAuthority(t)
	a, b := ca.node(t, 1), ca.node(t, 2)
	knows(a, b)
	big := bytes.Repeat([]byte("some bytes "), 400_000)
	b.Handle("echo", echo)
	for i := range uint64(20) {
		a.send(2, replicate(i, big[:1<<i%len(big)]), pb.Message{Type: pb.Heartbeat, Hint: 1})
	}
	await(t, "the messages", func() bool { return len(b.received()) == 40 })
	for _, m := range b.received() {
		for _, e := range m.Entries {
			if !bytes.Equal(e.Cmd, big[:len(e.Cmd)]) {
				t.Fatalf("entry %d has changed", e.Index)
			}
		}
	}
	if r, err := a.Call(within(t, 10*time.Second), 2, "echo", big); err != nil || !bytes.Equal(r, big) {
		t.Fatal(len(r), err)
	}
	s, err := a.end.GetSnapshotConnection(within(t, 10*time.Second), "2")
	if err != nil {
		t.Fatal(err)
	}
	for i := range uint64(3) {
		if err := s.SendChunk(pb.Chunk{ShardID: 7, ChunkId: i, Data: big}); err != nil {
			t.Fatal(err)
		}
	}
	s.Close()
	await(t, "the chunks", func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		return len(b.chunks) == 3 && bytes.Equal(b.chunks[2].Data, big)
	})
	// It breaks, and is made again.
	address := b.Addr().String()
	b.stop()
	b = ca.node(t, 2)
	a.SetAddress(2, b.Addr().String())
	if address != b.Addr().String() {
		await(t, "a message", func() bool { a.send(2, replicate(1, big)); return len(b.received()) > 0 })
	}
	// A peer that does not read any more does not delay the end.
	block := make(chan struct{})
	b.mu.Lock()
	b.block = block
	b.mu.Unlock()
	for i := range uint64(10) {
		a.send(2, replicate(i, big))
	}
	begin := time.Now()
	a.stop()
	if d := time.Since(begin); d > time.Second {
		t.Errorf("close took %v", d)
	}
	close(block)
}

func TestTLS_StrangersAreRefused(t *testing.T) {
	ca := newAuthority(t)
	b := ca.node(t, 2)
	b.HandleOpen("echo", echo)
	plain := newRigNode(t, rigConfig{node: 1})
	if _, err := plain.CallAddress(within(t, 5*time.Second), b.Addr().String(), "echo", nil); err == nil {
		t.Fatal("a client without TLS was answered")
	} else {
		t.Log(err)
	}
	other := newAuthority(t).node(t, 3)
	if _, err := other.CallAddress(within(t, 5*time.Second), b.Addr().String(), "echo", nil); err == nil {
		t.Fatal("a client of another authority was answered")
	}
	plain.SetAddress(2, b.Addr().String())
	plain.send(2, replicate(1, nil))
	await(t, "an error", func() bool { return plain.Peers()[0].Err != nil })
	if len(b.received()) > 0 {
		t.Fatal("a message came through")
	}
}
