package localcloud

import (
	"net"
	"net/http"
	"slices"
	"strings"

	"github.com/airlock-secrets/airlock/localcloud/astro"
	"github.com/airlock-secrets/airlock/localcloud/clouds"
	"github.com/airlock-secrets/airlock/localcloud/control"
	"github.com/airlock-secrets/airlock/localcloud/github"
	"github.com/airlock-secrets/airlock/localcloud/identity"
)

// Each answer says that it does not come from Azure, Astro or GitHub.
const (
	serverHeader = "Airlock-Local-Cloud"
	notAzure     = "not Azure; for development and tests only"
)

// standsFor says for which hosts the cloud can answer: all vaults of all clouds, so that a vault that nobody provisioned is
// an error with a remedy and never a request to the real one, all sign-in hosts, the metadata service, and the APIs of
// Astro and GitHub.
func standsFor(host string) bool {
	_, isLogin := clouds.OfLogin(host)
	return isLogin || isVault(host) || slices.Contains([]string{identity.IMDSHost, astro.Host, github.Host}, host)
}

// emulates says for which hosts it does. GitHub is left to itself as long as there is no repository.
func (c *Cloud) emulates(host string) bool {
	return standsFor(host) && !slices.Contains(c.pass, host) && (host != github.Host || c.github.Any())
}

func isVault(host string) bool {
	_, own := clouds.OfVault(host)
	_, direct := clouds.DirectVault(host)
	return own || direct
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
	if isVault(host) {
		c.answer(w, r, "keyvault", c.keyvault)
		return
	}
	switch host {
	case astro.Host:
		c.answer(w, r, "astro", c.astro)
		return
	case github.Host:
		c.answer(w, r, "github", c.github)
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
		http.Error(w, "airlock local cloud: this is an HTTP proxy; set HTTPS_PROXY to its address (airlock dev env shows how)",
			http.StatusNotFound)
	}))
}

// answer runs a service, or lets it fail, and writes down that it did.
func (c *Cloud) answer(w http.ResponseWriter, r *http.Request, service string, handler http.Handler) {
	w.Header().Set("Server", serverHeader)
	w.Header().Set("X-Airlock-Local-Cloud", notAzure)
	w.Header().Set("Date", c.clock.Now().UTC().Format(http.TimeFormat)) // one clock for all that an answer says
	seen := &statusWriter{ResponseWriter: w, status: http.StatusOK}
	request := c.request(service, r, 0)
	whole := false
	defer func() { // a fault may close the connection by a panic
		if whole {
			request.Status = seen.status
		}
		c.requests.Add(request)
	}()
	c.injector.Wrap(service, request.Host, handler).ServeHTTP(seen, r)
	whole = true
}

// refuse answers for a service with an error in its shape.
func (c *Cloud) refuse(service string, w http.ResponseWriter, r *http.Request, status int) {
	switch service {
	case "keyvault":
		c.keyvault.Refuse(w, r, status)
	case "entra":
		c.entra.Refuse(w, r, status)
	case "identity":
		c.identity.Refuse(w, r, status)
	case "astro":
		c.astro.Refuse(w, r, status)
	case "github":
		c.github.Refuse(w, r, status)
	default:
		http.Error(w, "airlock local cloud: a fault was asked for", status)
	}
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

// Request is one request that the cloud answered.
type Request = control.Request

func (c *Cloud) request(service string, r *http.Request, status int) Request {
	host := r.Host
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	return Request{
		Time: c.clock.Now(), Service: service, Method: r.Method, Host: strings.ToLower(host), Path: r.URL.Path, Status: status,
	}
}

// Requests lists what was asked, oldest first. The last 4096 are kept.
func (c *Cloud) Requests() []Request { return c.requests.All() }

// ForgetRequests makes Requests empty.
func (c *Cloud) ForgetRequests() { c.requests.Clear() }
