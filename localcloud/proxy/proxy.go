// Package proxy is the local cloud's HTTP proxy. It answers for the emulated hosts itself, over TLS with certificates
// made for them, so that clients need no other setting than a proxy and a root to trust; other hosts it tunnels or
// refuses.
package proxy

import (
	"cmp"
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Bounds on what a client may take. Bodies are bounded by the services, which know what is right for each request.
const (
	maxConns      = 8192 // of a listener; more wait until one ends
	maxHeader     = 64 << 10
	headerTimeout = 10 * time.Second
	readTimeout   = 60 * time.Second
	writeTimeout  = 5 * time.Minute // an injected delay may be long
	idleTimeout   = 2 * time.Minute
	dialTimeout   = 15 * time.Second
	tunnelTimeout = 10 * time.Minute // without a byte in either direction
	drainTimeout  = 2 * time.Second  // for requests under way when the proxy closes
)

// Config says what the proxy answers for. All fields but Hermetic and Observe must be set.
type Config struct {
	// Emulates says whether a host, lower-case and without a port, is answered by Emulated.
	Emulates func(host string) bool
	// Emulated serves the requests for emulated hosts; the request's Host says for which.
	Emulated http.Handler
	// Own serves requests that are for the proxy itself and not through it.
	Own http.Handler
	// Certificate gives a certificate for an emulated host.
	Certificate func(host string) (*tls.Certificate, error)
	// Hermetic refuses the hosts that are not emulated.
	Hermetic bool
	// Observe is told of requests that leave for other hosts or are refused. nil: nobody is.
	Observe func(r *http.Request, status int)
	Log     *slog.Logger

	patience time.Duration // with a client's header; 0: headerTimeout
}

// Server is a running proxy.
type Server struct {
	cfg      Config
	listener net.Listener
	outer    *http.Server // speaks proxy
	inner    *http.Server // speaks for the emulated hosts, on what comes out of CONNECT
	handoff  *handoff     // from outer to inner: over TLS
	plain    *handoff     // from outer to inner: without
	forward  *httputil.ReverseProxy
	dialer   net.Dialer

	serving  sync.WaitGroup // the loops and the tunnels
	requests atomic.Int64   // being answered by emulated services
	ctx      context.Context
	cancel   context.CancelFunc
	conns    tracker
}

// Start serves on listener, which it owns from then on, until Close.
func Start(listener net.Listener, cfg Config) *Server {
	s := &Server{cfg: cfg, listener: listener, dialer: net.Dialer{Timeout: dialTimeout}}
	s.handoff, s.plain = newHandoff(listener.Addr()), newHandoff(listener.Addr())
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.conns.open = map[io.Closer]struct{}{}
	patience := cmp.Or(cfg.patience, headerTimeout)
	errorLog := slog.NewLogLogger(cfg.Log.Handler(), slog.LevelWarn)
	s.outer = &http.Server{
		Handler: http.HandlerFunc(s.route), ErrorLog: errorLog, MaxHeaderBytes: maxHeader,
		ReadHeaderTimeout: patience, ReadTimeout: readTimeout, WriteTimeout: writeTimeout, IdleTimeout: idleTimeout,
	}
	s.inner = &http.Server{
		Handler: s.counted(cfg.Emulated), ErrorLog: errorLog, MaxHeaderBytes: maxHeader,
		ReadHeaderTimeout: patience, ReadTimeout: readTimeout, WriteTimeout: writeTimeout, IdleTimeout: idleTimeout,
		TLSConfig: &tls.Config{
			MinVersion: tls.VersionTLS12,
			NextProtos: []string{"h2", "http/1.1"},
			GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
				host := hello.ServerName
				if target, ok := hello.Conn.(*tunnelled); ok && host == "" {
					host = target.host
				}
				return cfg.Certificate(host)
			},
		},
	}
	s.forward = &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { r.Out.Host = r.In.Host },
		Transport: &http.Transport{
			DialContext: s.dialer.DialContext, ResponseHeaderTimeout: readTimeout, IdleConnTimeout: idleTimeout,
		},
		ErrorHandler: s.unreachable,
		ErrorLog:     errorLog,
	}
	s.serving.Go(func() { _ = s.outer.Serve(newBounded(listener, maxConns)) })
	s.serving.Go(func() { _ = s.inner.ServeTLS(s.handoff, "", "") })
	s.serving.Go(func() { _ = s.inner.Serve(s.plain) })
	return s
}

// ServeDirect serves the emulated hosts on one more listener, over TLS and without a proxy's CONNECT, until Close. It
// owns the listener.
func (s *Server) ServeDirect(listener net.Listener) {
	s.serving.Go(func() { _ = s.inner.ServeTLS(newBounded(listener, maxConns), "", "") })
}

// Addr is where the proxy listens.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// InFlight is how many requests are being answered by emulated services.
func (s *Server) InFlight() int { return int(s.requests.Load()) }

// Close stops taking connections, gives requests under way a moment, and ends everything.
func (s *Server) Close() error {
	ctx, done := context.WithTimeout(context.Background(), drainTimeout)
	defer done()
	err := s.listener.Close()
	for s.requests.Load() > 0 && ctx.Err() == nil {
		time.Sleep(time.Millisecond)
	}
	s.cancel()
	s.conns.closeAll()
	// A connection of HTTP/2 waits a full second for its client to go away, so after the requests are done there is only
	// a short moment left for what is being flushed.
	flush, flushed := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer flushed()
	for _, server := range []*http.Server{s.inner, s.outer} {
		if server.Shutdown(flush) != nil {
			_ = server.Close()
		}
	}
	s.forward.Transport.(*http.Transport).CloseIdleConnections()
	s.serving.Wait()
	return err
}

func (s *Server) counted(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.requests.Add(1)
		defer s.requests.Add(-1)
		next.ServeHTTP(w, r)
	})
}

func (s *Server) route(w http.ResponseWriter, r *http.Request) {
	switch host := hostOf(r.Host); {
	case r.Method == http.MethodConnect && s.cfg.Emulates(host):
		s.terminate(w, r, host)
	case r.Method != http.MethodConnect && !r.URL.IsAbs():
		s.counted(s.cfg.Own).ServeHTTP(w, r)
	case r.Method != http.MethodConnect && s.cfg.Emulates(host):
		s.counted(s.cfg.Emulated).ServeHTTP(w, r)
	case s.cfg.Hermetic:
		s.observe(r, http.StatusForbidden)
		http.Error(w, "airlock local cloud: "+host+" is not emulated, and the local cloud is hermetic: "+
			"it lets nothing out. Start it without --hermetic to tunnel to other hosts.", http.StatusForbidden)
	case r.Method == http.MethodConnect:
		s.tunnel(w, r)
	default:
		s.observe(r, http.StatusOK)
		s.forward.ServeHTTP(w, r)
	}
}

func (s *Server) observe(r *http.Request, status int) {
	if s.cfg.Observe != nil {
		s.cfg.Observe(r, status)
	}
}

// terminate takes the connection over and speaks for the emulated host on it.
func (s *Server) terminate(w http.ResponseWriter, r *http.Request, host string) {
	conn, ok := s.hijack(w)
	if !ok {
		return
	}
	to := s.handoff
	if _, port, _ := net.SplitHostPort(r.Host); port == "80" {
		to = s.plain // Java's Netty asks for a tunnel even to the metadata service, which has no TLS
	}
	if !to.put(&tunnelled{Conn: conn, host: host}) {
		_ = conn.Close()
	}
}

// hijack takes the client's connection and tells it that it is through.
func (s *Server) hijack(w http.ResponseWriter) (net.Conn, bool) {
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		http.Error(w, "airlock local cloud: CONNECT needs HTTP/1.1", http.StatusHTTPVersionNotSupported)
		return nil, false
	}
	_ = conn.SetDeadline(time.Now().Add(headerTimeout))
	if _, err := io.WriteString(conn, "HTTP/1.1 200 Connection established\r\n\r\n"); err != nil {
		_ = conn.Close()
		return nil, false
	}
	_ = conn.SetDeadline(time.Time{})
	// A client that did not wait for the answer has its first bytes in the buffer.
	if n := buffered.Reader.Buffered(); n > 0 {
		early, _ := buffered.Reader.Peek(n)
		return &resumed{Conn: conn, early: early}, true
	}
	return conn, true
}

func (s *Server) tunnel(w http.ResponseWriter, r *http.Request) {
	target, err := s.dialer.DialContext(s.ctx, "tcp", r.Host)
	if err != nil {
		s.unreachable(w, r, err)
		return
	}
	client, ok := s.hijack(w)
	if !ok {
		_ = target.Close()
		return
	}
	s.observe(r, http.StatusOK)
	if !s.conns.add(client, target) {
		return
	}
	s.serving.Go(func() {
		defer s.conns.remove(client, target)
		join(client, target)
	})
}

func (s *Server) unreachable(w http.ResponseWriter, r *http.Request, err error) {
	s.observe(r, http.StatusBadGateway)
	s.cfg.Log.Warn("tunnel failed", "host", r.Host, "error", err)
	http.Error(w, "airlock local cloud: "+hostOf(r.Host)+" is not emulated, and it could not be reached: "+err.Error(),
		http.StatusBadGateway)
}

// join copies in both directions until both ends are done, or silent for too long.
func join(a, b net.Conn) {
	var both sync.WaitGroup
	oneWay := func(to, from net.Conn) {
		_, err := io.Copy(alive{to, from}, from)
		if half, ok := to.(interface{ CloseWrite() error }); ok && err == nil {
			_ = half.CloseWrite()
			return
		}
		_, _ = a.Close(), b.Close()
	}
	_, _ = a.SetDeadline(time.Now().Add(tunnelTimeout)), b.SetDeadline(time.Now().Add(tunnelTimeout))
	both.Go(func() { oneWay(a, b) })
	both.Go(func() { oneWay(b, a) })
	both.Wait()
}

// alive puts the deadline of both ends off with each write.
type alive struct{ to, from net.Conn }

func (w alive) Write(p []byte) (int, error) {
	end := time.Now().Add(tunnelTimeout)
	_, _ = w.to.SetDeadline(end), w.from.SetDeadline(end)
	return w.to.Write(p)
}

func hostOf(hostport string) string {
	if host, _, err := net.SplitHostPort(hostport); err == nil {
		hostport = host
	}
	return strings.ToLower(strings.TrimSuffix(hostport, "."))
}

// tunnelled is a connection that came out of CONNECT, with the host that it asked for.
type tunnelled struct {
	net.Conn
	host string
}

// resumed is a connection of which some bytes were read already.
type resumed struct {
	net.Conn
	early []byte
}

// CloseWrite ends one direction, as a connection of TCP can.
func (r *resumed) CloseWrite() error {
	if half, ok := r.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return r.Conn.Close()
}

func (r *resumed) Read(p []byte) (int, error) {
	if len(r.early) > 0 {
		n := copy(p, r.early)
		r.early = r.early[n:]
		return n, nil
	}
	return r.Conn.Read(p)
}

// handoff is a listener of connections that were accepted elsewhere.
type handoff struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
	addr  net.Addr
}

func newHandoff(addr net.Addr) *handoff {
	return &handoff{conns: make(chan net.Conn), done: make(chan struct{}), addr: addr}
}

func (h *handoff) put(c net.Conn) bool {
	select {
	case h.conns <- c:
		return true
	case <-h.done:
		return false
	}
}

func (h *handoff) Accept() (net.Conn, error) {
	select {
	case c := <-h.conns:
		return c, nil
	case <-h.done:
		return nil, net.ErrClosed
	}
}

func (h *handoff) Close() error {
	h.once.Do(func() { close(h.done) })
	return nil
}

func (h *handoff) Addr() net.Addr { return h.addr }

// tracker knows the tunnels, which no http.Server does.
type tracker struct {
	mu     sync.Mutex
	open   map[io.Closer]struct{}
	closed bool
}

func (t *tracker) add(conns ...io.Closer) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, c := range conns {
		if t.closed {
			_ = c.Close()
			continue
		}
		t.open[c] = struct{}{}
	}
	return !t.closed
}

func (t *tracker) remove(conns ...io.Closer) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, c := range conns {
		delete(t.open, c)
		_ = c.Close()
	}
}

func (t *tracker) closeAll() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	for c := range t.open {
		_ = c.Close()
	}
}
