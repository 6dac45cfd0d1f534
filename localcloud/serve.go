package localcloud

import (
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/airlock-secrets/airlock/localcloud/clouds"
	"github.com/airlock-secrets/airlock/localcloud/identity"
)

// Each answer says that it does not come from Azure.
const (
	serverHeader = "Airlock-Local-Cloud"
	notAzure     = "not Azure; for development and tests only"
)

// emulates says for which hosts the cloud stands in: all vaults of all clouds, so that a vault that nobody provisioned is
// an error with a remedy and never a request to the real one, all sign-in hosts, and the metadata service.
func emulates(host string) bool {
	if _, isVault := clouds.OfVault(host); isVault {
		return true
	}
	_, isLogin := clouds.OfLogin(host)
	return isLogin || host == identity.IMDSHost
}

// serve answers a request for an emulated host.
func (c *Cloud) serve(w http.ResponseWriter, r *http.Request) {
	host := r.Host
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.ToLower(host)
	if host == identity.IMDSHost {
		c.answer(w, r, "identity", http.HandlerFunc(c.identity.IMDS))
		return
	}
	if _, isLogin := clouds.OfLogin(host); isLogin {
		c.answer(w, r, "entra", c.entra)
		return
	}
	if _, isVault := clouds.OfVault(host); isVault {
		c.answer(w, r, "keyvault", c.keyvault)
		return
	}
	c.answer(w, r, "proxy", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "airlock local cloud: the request is for another host than the connection", http.StatusMisdirectedRequest)
	}))
}

// serveOwn answers a request for the proxy's own address.
func (c *Cloud) serveOwn(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == identity.AppServicePath {
		c.answer(w, r, "identity", http.HandlerFunc(c.identity.AppService))
		return
	}
	c.answer(w, r, "proxy", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "airlock local cloud: this is an HTTP proxy; set HTTPS_PROXY to its address (airlock dev env shows how)", http.StatusNotFound)
	}))
}

// answer runs a service and writes down that it did.
func (c *Cloud) answer(w http.ResponseWriter, r *http.Request, service string, handler http.Handler) {
	w.Header().Set("Server", serverHeader)
	w.Header().Set("X-Airlock-Local-Cloud", notAzure)
	seen := &statusWriter{ResponseWriter: w, status: http.StatusOK}
	at := c.now()
	handler.ServeHTTP(seen, r)
	request := c.request(service, r, seen.status)
	request.Time = at
	c.requests.add(request)
}

type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap lets http.ResponseController through.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Request is one request that the cloud answered. It holds no query, header or body, which may be secret.
type Request struct {
	Time    time.Time // when it came, by the cloud's clock
	Service string    // keyvault, entra, identity, or proxy for what it tunnelled or refused
	Method  string
	Host    string // lower-case, without a port
	Path    string // "" for a tunnel
	Status  int
}

func (c *Cloud) request(service string, r *http.Request, status int) Request {
	host := r.Host
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	return Request{
		Time: c.now(), Service: service, Method: r.Method, Host: strings.ToLower(host), Path: r.URL.Path, Status: status,
	}
}

// Requests lists what was asked, oldest first. The last 4096 are kept.
func (c *Cloud) Requests() []Request { return c.requests.all() }

const keptRequests = 4096

// ring keeps the last requests.
type ring struct {
	mu   sync.Mutex
	kept []Request
	next int // where the next one goes once the ring is full
}

func newRing() *ring { return &ring{} }

func (r *ring) add(request Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.kept) < keptRequests {
		r.kept = append(r.kept, request)
		return
	}
	r.kept[r.next] = request
	r.next = (r.next + 1) % keptRequests
}

func (r *ring) all() []Request {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append(append([]Request{}, r.kept[r.next:]...), r.kept[:r.next]...)
}
