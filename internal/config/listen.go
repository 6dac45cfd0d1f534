package config

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"net/netip"
	"net/url"
	"os/user"
	"regexp"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/airlock-secrets/airlock/internal/fault"
	"github.com/airlock-secrets/airlock/internal/secret"
)

// Listen is where an agent answers and for how long.
type Listen struct {
	Socket   string        // "" is the default
	Group    int           // its members may connect, too; 0: nobody but the own user
	TCP      string        // a loopback address with a port; "" is none
	IdleExit time.Duration // 0 is never
}

// Remote is what callers by TCP have to know.
type Remote struct {
	TokenFile string
	Token     secret.Value // empty while the file is missing: see MakeToken
	Hosts     []string     // in lower case
}

// SetListen changes where the agent answers, for what stands above the file: flags.
func (a *Agent) SetListen(change func(*Listen)) {
	change(&a.Listen)
	a.doc.Listen.Socket, a.doc.Listen.IdleExit = plainText(a.Listen.Socket), span(a.Listen.IdleExit)
}

// group is a group's name or number.
type group struct {
	written string
	id      int
}

func (g *group) take(n *yaml.Node) error {
	g.written = n.Value
	number := n.Value
	if n.Tag == "!!str" {
		found, err := user.LookupGroup(n.Value)
		if err != nil {
			return fault.New(fault.Usage, "is no group of this machine", "a group that a directory service knows can be given by its number")
		}
		number = found.Gid
	}
	id, err := strconv.ParseUint(number, 10, 32)
	switch {
	case err != nil || id == math.MaxUint32:
		return errors.New("must be a group's name or number")
	case id == 0:
		return errors.New("must not be root's group")
	}
	g.id = int(id)
	return nil
}

func (g group) give() any {
	if id, err := strconv.Atoi(g.written); err == nil {
		return id
	}
	return g.written
}

// loopback is a loopback address with a port.
type loopback string

func (l *loopback) take(n *yaml.Node) error {
	at, err := netip.ParseAddrPort(n.Value)
	if err != nil || !at.Addr().IsLoopback() {
		return errors.New("must be a loopback address with a port, for example 127.0.0.1:8130")
	}
	*l = loopback(at.String())
	return nil
}

// host is a name as it stands in a URL.
type host string

var hostName = regexp.MustCompile(`^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$`)

func (h *host) take(n *yaml.Node) error {
	*h = host(strings.ToLower(n.Value))
	if !hostName.MatchString(string(*h)) {
		return errors.New("must be a host's name without a port")
	}
	return nil
}

// listen settles where the agent answers, and refuses what would let nobody in, or too many, or make the agent ask itself.
func (a *Agent) listen(d *decoder, r *reader) {
	e := &a.doc.Listen
	a.Listen = Listen{Socket: string(e.Socket), Group: e.Group.id, TCP: string(e.TCP), IdleExit: time.Duration(e.IdleExit)}
	fail := func(field string, what string, hints ...string) {
		d.problem(e.At, "listen."+field, fault.New(fault.Usage, what, hints...))
	}
	if e.Group.id != 0 {
		if e.Socket == "" {
			fail("group", "wants a socket in a folder of its own", "name it: socket: /run/airlock-shared/agent.sock")
		}
		if len(a.doc.Policy) == 0 {
			fail("group", "lets others ask, and no rule says what", "say it under policy: what no rule allows is refused")
		}
	}
	if e.TCP == "" {
		if e.Token != "" || len(e.Hosts) > 0 {
			fail("tcp", "is missing, and token_file and hosts are for it alone")
		}
		return
	}
	if !a.rulesForTCP() {
		fail("tcp", "lets others ask, and no rule says what", "allow it under policy: a rule with tcp: true")
	}
	for _, h := range e.Hosts {
		a.Remote.Hosts = append(a.Remote.Hosts, string(h))
	}
	if e.Token == "" {
		fail("token_file", "is missing: callers by TCP must show a token")
		return
	}
	path, token, err := r.secretFile(string(e.Token))
	a.Remote.TokenFile = path
	switch {
	case errors.Is(err, fs.ErrNotExist): // it is made when the agent starts
	case err != nil:
		d.problem(e.At, "listen.token_file", err)
	default:
		if err := tokenProblem(token); err != nil {
			d.problem(e.At, "listen.token_file", err)
		}
		a.Remote.Token = token
	}
	for i, v := range a.Vaults {
		if where := v.leadsTo(a.Listen.TCP); where != "" {
			d.problem(a.doc.Vaults[i].At, fmt.Sprintf("vaults[%d]", i), errors.New("would make the agent ask itself: "+where+" leads to listen.tcp"))
		}
	}
}

func (a *Agent) rulesForTCP() bool {
	for _, e := range a.doc.Policy {
		if e.TCP {
			return true
		}
	}
	return false
}

// leadsTo says which setting sends a vault's requests to an address of this machine; "" when none does. Names other than
// localhost are not resolved: what they lead to may change with every request.
func (c *Config) leadsTo(address string) string {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return ""
	}
	for _, each := range []struct{ what, url, port string }{
		{"url", c.VaultURL, "443"},
		{"AZURE_AUTHORITY_HOST", c.AuthorityHost, "443"},
		{"HTTPS_PROXY", c.Network.HTTPSProxy, "80"},
		{"HTTP_PROXY", c.Network.HTTPProxy, "80"},
	} {
		raw := each.url
		if raw != "" && !strings.Contains(raw, "://") {
			raw = "http://" + raw // so a proxy may be written
		}
		u, err := url.Parse(raw)
		if err != nil || u.Port() == "" && each.port != strconv.Itoa(int(at.Port())) || u.Port() != "" && u.Port() != strconv.Itoa(int(at.Port())) {
			continue
		}
		if onThisMachine(u.Hostname()) {
			return each.what
		}
	}
	return ""
}

// onThisMachine tells whether a host is this machine's loopback. The address of all interfaces connects to it, too.
func onThisMachine(host string) bool {
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	if addr, err := netip.ParseAddr(host); err == nil {
		addr = addr.Unmap()
		return addr.IsLoopback() || addr.IsUnspecified()
	}
	return host == "localhost" || strings.HasSuffix(host, ".localhost")
}
