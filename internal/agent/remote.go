package agent

import (
	"crypto/sha256"
	"crypto/subtle"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/net/netutil"

	"github.com/airlock-secrets/airlock/internal/fault"
	"github.com/airlock-secrets/airlock/internal/secret"
)

// Remote says which callers by TCP are listened to: on loopback the kernel does not say who connects, and a browser or a
// proxy of this machine can be made to connect by somebody else. What they may look up is for the policy to say. The zero
// value refuses them all.
type Remote struct {
	Token secret.Value // what a caller has to show
	Hosts []string     // by which names it may address the agent, in lower case, beside localhost and loopback addresses
}

// maxRemote is how many callers by TCP are connected at once. Every user of the machine can connect, and must not take the
// descriptors from those who come by the socket.
const maxRemote = 1024

// ListenTCP listens at a loopback address, such as 127.0.0.1:8130; port 0 is any. Its error is of kind Usage.
func ListenTCP(address string) (net.Listener, error) {
	at, err := netip.ParseAddrPort(address)
	if err != nil || !at.Addr().IsLoopback() {
		return nil, fault.New(fault.Usage, "the agent listens on loopback addresses only, such as 127.0.0.1:8130")
	}
	l, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(at))
	if err != nil {
		return nil, fault.Wrap(fault.Usage, err, "cannot listen at "+address+": "+fault.Detail(err), "choose another port for listen.tcp")
	}
	return netutil.LimitListener(l, maxRemote), nil
}

// showsToken refuses a request by TCP that did not come straight from a program that knows the token. A refused caller is
// hung up on.
func (d *Daemon) showsToken(w http.ResponseWriter, r *http.Request, remote *Remote) error {
	reason, err := remote.refuse(r)
	if err != nil {
		d.config.Metrics.Refused(reason)
		d.log.Debug("refused a request by TCP", "reason", reason)
		w.Header().Set("Connection", "close")
	}
	return err
}

// refuse says why a request is not listened to, in a word and as an error of kind Forbidden; nil when it is. Of the token it
// tells nothing but that it is needed.
func (r *Remote) refuse(request *http.Request) (reason string, err error) {
	refuse := func(what string, hints ...string) error { return fault.New(fault.Forbidden, what, hints...) }
	switch {
	case forwarded(request.Header):
		return "forwarded", refuse("the agent answers no forwarded requests", "ask it directly, without a proxy")
	case fromBrowser(request.Header):
		return "browser", refuse("the agent answers no browsers")
	case !r.named(request.Host):
		return "host", refuse("the request names a host that the agent does not go by", "use localhost, or add the name to listen.hosts")
	case !r.knows(request.Header):
		return "token", refuse("the request does not show the agent's token", "the token is in the agent's listen.token_file")
	}
	return "", nil
}

// forwarded tells whether a proxy added anything (https://www.rfc-editor.org/rfc/rfc7239, RFC 9110 section 7.6.3, and what
// was customary before). Whoever the proxy listens to would speak with our token, or with a page's request.
func forwarded(header http.Header) bool {
	for name := range header {
		if name == "Forwarded" || name == "Via" || name == "X-Real-Ip" || strings.HasPrefix(name, "X-Forwarded") {
			return true
		}
	}
	return false
}

// fromBrowser tells whether a page of some site makes a browser ask. Pages cannot keep a browser from sending these
// headers (https://fetch.spec.whatwg.org/#forbidden-request-header).
func fromBrowser(header http.Header) bool {
	for name := range header {
		if name == "Origin" || name == "Cookie" || strings.HasPrefix(name, "Sec-Fetch-") {
			return true
		}
	}
	return false
}

// named tells whether a Host header is one of ours. A site that makes its own name lead to 127.0.0.1 (DNS rebinding) gets
// a browser to connect, but not to hide that name.
func (r *Remote) named(host string) bool {
	name := host
	if only, _, err := net.SplitHostPort(host); err == nil {
		name = only
	}
	name = strings.ToLower(name)
	if addr, err := netip.ParseAddr(strings.Trim(name, "[]")); err == nil {
		return addr.IsLoopback()
	}
	return name == "localhost" || slices.Contains(r.Hosts, name)
}

// knows compares in a time that tells nothing of the token, neither its length nor how much of it was right.
func (r *Remote) knows(header http.Header) bool {
	values := header["Authorization"]
	if len(values) != 1 || r.Token.Len() == 0 {
		return false
	}
	scheme, shown, _ := strings.Cut(values[0], " ")
	right, got := sha256.Sum256(r.Token.Reveal()), sha256.Sum256([]byte(shown))
	return subtle.ConstantTimeCompare(right[:], got[:]) == 1 && strings.EqualFold(scheme, "Bearer")
}
