package proxy

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/airlock-secrets/airlock/localcloud/authority"
)

const emulated = "one.vault.azure.net"

type fixture struct {
	*Server
	roots *x509.CertPool
}

func start(t *testing.T, change func(*Config)) *fixture {
	t.Helper()
	ca, err := authority.New(authority.Config{Dir: t.TempDir(), Domains: []string{"vault.azure.net"}})
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{
		Emulates: func(host string) bool { return strings.HasSuffix(host, ".vault.azure.net") },
		Emulated: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = fmt.Fprintf(w, "emulated %s over %s", r.Host, r.Proto)
		}),
		Own:         http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "own") }),
		Certificate: ca.Certificate,
		Log:         slog.New(slog.DiscardHandler),
	}
	if change != nil {
		change(&cfg)
	}
	f := &fixture{Start(listener, cfg), x509.NewCertPool()}
	f.roots.AddCert(ca.Root())
	t.Cleanup(func() { _ = f.Close() })
	return f
}

func (f *fixture) dial(t *testing.T) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", f.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return conn
}

// connect asks for a tunnel and returns the status.
func connect(t *testing.T, conn net.Conn, target string) (int, string) {
	t.Helper()
	if _, err := fmt.Fprintf(conn, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n", target, target); err != nil {
		t.Fatal(err)
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: http.MethodConnect})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	body := ""
	if response.StatusCode != http.StatusOK {
		raw, _ := io.ReadAll(response.Body)
		body = string(raw)
	}
	return response.StatusCode, body
}

// ask sends a request over a connection of TLS and returns the body.
func ask(t *testing.T, conn net.Conn, host string) string {
	t.Helper()
	if _, err := fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", host); err != nil {
		t.Fatal(err)
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	body, _ := io.ReadAll(response.Body)
	return string(body)
}

func TestEmulated(t *testing.T) {
	f := start(t, nil)
	for _, row := range []struct {
		name   string
		config *tls.Config
		want   string // "": the handshake fails
	}{
		{"a usual client", &tls.Config{ServerName: emulated, RootCAs: f.roots}, "emulated one.vault.azure.net over HTTP/1.1"},
		{"TLS 1.2", &tls.Config{ServerName: emulated, RootCAs: f.roots, MaxVersion: tls.VersionTLS12}, "emulated one.vault.azure.net over HTTP/1.1"},
		{"TLS 1.1", &tls.Config{ServerName: emulated, RootCAs: f.roots, MaxVersion: tls.VersionTLS11}, ""},
		{"no trust", &tls.Config{ServerName: emulated, RootCAs: x509.NewCertPool()}, ""},
		{"a name that is not emulated", &tls.Config{ServerName: "example.com", RootCAs: f.roots}, ""},
		{"no name, as if by address", &tls.Config{InsecureSkipVerify: true, VerifyConnection: func(state tls.ConnectionState) error {
			_, err := state.PeerCertificates[0].Verify(x509.VerifyOptions{DNSName: emulated, Roots: f.roots})
			return err
		}}, "emulated one.vault.azure.net over HTTP/1.1"},
	} {
		t.Run(row.name, func(t *testing.T) {
			conn := f.dial(t)
			if status, _ := connect(t, conn, emulated+":443"); status != http.StatusOK {
				t.Fatalf("status %d", status)
			}
			secure := tls.Client(conn, row.config)
			if err := secure.Handshake(); err != nil || row.want == "" {
				if err == nil || row.want != "" {
					t.Fatalf("handshake: %v", err)
				}
				return
			}
			if got := ask(t, secure, emulated); got != row.want {
				t.Errorf("got %q", got)
			}
		})
	}
}

// What listens on port 80 has no TLS, behind CONNECT too: Java's Netty reaches the metadata service so.
func TestTunnelWithoutTLS(t *testing.T) {
	f := start(t, nil)
	conn := f.dial(t)
	if status, _ := connect(t, conn, emulated+":80"); status != http.StatusOK {
		t.Fatalf("status %d", status)
	}
	if got := ask(t, conn, emulated); got != "emulated one.vault.azure.net over HTTP/1.1" {
		t.Errorf("got %q", got)
	}
}

// Some clients send what comes behind CONNECT without waiting for its answer.
func TestImpatientClient(t *testing.T) {
	f := start(t, nil)
	conn := f.dial(t)
	eager := &eagerConn{Conn: conn, first: []byte("CONNECT " + emulated + ":443 HTTP/1.1\r\nHost: " + emulated + "\r\n\r\n")}
	secure := tls.Client(eager, &tls.Config{ServerName: emulated, RootCAs: f.roots})
	if got := ask(t, secure, emulated); got != "emulated one.vault.azure.net over HTTP/1.1" {
		t.Errorf("got %q", got)
	}
}

// eagerConn puts the CONNECT and the first bytes of TLS into one packet, and takes the answer to CONNECT out of what
// comes back.
type eagerConn struct {
	net.Conn
	first []byte
	back  *bufio.Reader
}

func (c *eagerConn) Write(p []byte) (int, error) {
	if c.first == nil {
		return c.Conn.Write(p)
	}
	whole := append(c.first, p...)
	c.first = nil
	if _, err := c.Conn.Write(whole); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (c *eagerConn) Read(p []byte) (int, error) {
	if c.back == nil {
		c.back = bufio.NewReader(c.Conn)
		for {
			line, err := c.back.ReadString('\n')
			if err != nil {
				return 0, err
			}
			if strings.TrimSpace(line) == "" {
				break
			}
		}
	}
	return c.back.Read(p)
}

func TestOtherHosts(t *testing.T) {
	nobody, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := nobody.Addr().String()
	if err := nobody.Close(); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		hermetic bool
		status   int
		want     string
	}{
		{false, http.StatusBadGateway, "127.0.0.1 is not emulated, and it could not be reached"},
		{true, http.StatusForbidden, "127.0.0.1 is not emulated, and the local cloud is hermetic"},
	} {
		f := start(t, func(c *Config) { c.Hermetic = row.hermetic })
		if status, body := connect(t, f.dial(t), address); status != row.status || !strings.Contains(body, row.want) {
			t.Errorf("%d %s", status, body)
		}
	}
	if got := ask(t, start(t, nil).dial(t), "127.0.0.1"); got != "own" {
		t.Errorf("a request for the proxy itself: %q", got)
	}
}

func TestLargeHeader(t *testing.T) {
	f := start(t, nil)
	conn := f.dial(t)
	go func() {
		_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n")
		for range 40 {
			_, _ = fmt.Fprintf(conn, "X: %s\r\n", strings.Repeat("x", 4<<10))
		}
	}()
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return // closed while the rest was on its way
	}
	_ = response.Body.Close()
	if response.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("status %d", response.StatusCode)
	}
}

// A client that does not go on is let go: before its header, and behind CONNECT before its handshake.
func TestSlowClients(t *testing.T) {
	f := start(t, func(c *Config) { c.patience = 30 * time.Millisecond })
	header := f.dial(t)
	if _, err := io.WriteString(header, "GET / HTTP/1.1\r\nHost: x\r\n"); err != nil {
		t.Fatal(err)
	}
	handshake := f.dial(t)
	if status, _ := connect(t, handshake, emulated+":443"); status != http.StatusOK {
		t.Fatalf("status %d", status)
	}
	for name, conn := range map[string]net.Conn{"header": header, "handshake": handshake} {
		if _, err := io.Copy(io.Discard, conn); err != nil && isTimeout(err) {
			t.Errorf("%s: the connection is still open", name)
		}
	}
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}

func TestCloseEndsTunnels(t *testing.T) {
	outside, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = outside.Close() }()
	accepted := make(chan net.Conn, 1)
	go func() {
		if conn, err := outside.Accept(); err == nil {
			accepted <- conn
		}
	}()
	f := start(t, nil)
	client := f.dial(t)
	if status, _ := connect(t, client, outside.Addr().String()); status != http.StatusOK {
		t.Fatalf("status %d", status)
	}
	server := <-accepted
	defer func() { _ = server.Close() }()
	for _, pair := range [][2]net.Conn{{client, server}, {server, client}} { // both directions
		if _, err := io.WriteString(pair[0], "hello"); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, 5)
		if _, err := io.ReadFull(pair[1], got); err != nil || !bytes.Equal(got, []byte("hello")) {
			t.Fatalf("%q, %v", got, err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	for _, conn := range []net.Conn{client, server} {
		if _, err := io.Copy(io.Discard, conn); err != nil && isTimeout(err) {
			t.Error("an end of the tunnel is still open")
		}
	}
}

// Requests under way get their answer when the proxy closes.
func TestCloseLetsRequestsFinish(t *testing.T) {
	began, finish := make(chan struct{}), make(chan struct{})
	f := start(t, func(c *Config) {
		c.Emulated = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			close(began)
			<-finish
			_, _ = io.WriteString(w, "finished")
		})
	})
	conn := f.dial(t)
	connect(t, conn, emulated+":443")
	secure := tls.Client(conn, &tls.Config{ServerName: emulated, RootCAs: f.roots})
	closed := make(chan error, 1)
	go func() {
		<-began
		go func() { closed <- f.Close() }()
		for { // until Close has begun: it closes the listener first
			probe, err := net.Dial("tcp", f.Addr().String())
			if err != nil {
				break
			}
			_ = probe.Close()
		}
		close(finish)
	}()
	if got := ask(t, secure, emulated); got != "finished" {
		t.Errorf("got %q", got)
	}
	if err := <-closed; err != nil {
		t.Error(err)
	}
}

// Connections above the limit wait, and are served when others end.
func TestBounded(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	limited := newBounded(inner, 1)
	accepted := make(chan net.Conn)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			conn, err := limited.Accept()
			if err != nil {
				return
			}
			accepted <- conn
		}
	}()
	for range 2 {
		client, err := net.Dial("tcp", inner.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = client.Close() }()
	}
	first := <-accepted
	if len(limited.places) != 1 {
		t.Errorf("%d places are taken", len(limited.places))
	}
	select {
	case <-accepted:
		t.Fatal("the second connection did not wait")
	case <-time.After(20 * time.Millisecond):
	}
	if _, ok := first.(interface{ CloseWrite() error }); !ok {
		t.Error("one direction cannot be closed")
	}
	_ = first.Close()
	_ = first.Close() // gives its place back once
	second := <-accepted
	if err := limited.Close(); err != nil {
		t.Error(err)
	}
	<-ended // although no place was free
	_ = second.Close()
}
