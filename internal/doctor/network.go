package doctor

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http/httptrace"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/airlock-secrets/airlock/internal/fault"
	"github.com/airlock-secrets/airlock/internal/keyvault"
)

// way is the first exchange with the vault, as it was seen: one request without a token, which four checks judge.
type way struct {
	host      string
	addresses []netip.Addr // that the name stands for; none when a proxy looks it up
	connected string       // the address that took the connection, the proxy's where there is one
	failed    string       // the address that did not, when none took it
	secured   bool
	session   tls.ConnectionState
	challenge keyvault.Challenge
	err       error // nil: the vault answered as one does
}

func (v *visit) checkProxy(context.Context) Result {
	road, err := v.Open(v.conf)
	if err != nil {
		return brokenBy(err)
	}
	v.road = road
	r := Result{State: OK, Found: "none is set: requests go straight to " + hostOf(v.conf.VaultURL)}
	if road.Proxy != nil {
		r.Found = fmt.Sprintf("requests go through %s", road.Proxy.Redacted())
	} else if n := v.conf.Network; n.HTTPSProxy != "" {
		r.Found = fmt.Sprintf("NO_PROXY takes %s out: requests go straight to it", hostOf(v.conf.VaultURL))
	}
	if road.Trust != "" {
		r.Notes = append(r.Notes, "SSL_CERT_FILE names the trusted authorities: "+road.Trust)
	}
	return r
}

// checkName makes the exchange, and judges its first part.
func (v *visit) checkName(ctx context.Context) Result {
	v.way = look(ctx, v.road.Vault, hostOf(v.conf.VaultURL))
	w := v.way
	switch {
	case fault.CaseOf(w.err) == keyvault.CaseUnknownVault:
		return brokenBy(w.err)
	case v.road.Proxy != nil:
		return Result{State: OK, Found: "the proxy looks it up"}
	case len(w.addresses) == 0 && w.connected == "" && w.err != nil:
		return brokenBy(w.err)
	}
	r := Result{State: OK, Found: w.host + " is " + joined(w.addresses)}
	for _, a := range w.addresses {
		if a.IsPrivate() {
			r.Found += ", a private endpoint"
			break
		}
	}
	return r
}

func (v *visit) checkConnection(context.Context) Result {
	switch w := v.way; {
	case w.connected == "":
		r := brokenBy(w.err)
		if w.failed != "" {
			r.Notes = append(r.Notes, "tried "+w.failed)
		}
		return r.because(w.err)
	case fault.CaseOf(w.err) == keyvault.CaseProxy:
		return brokenBy(w.err).because(w.err)
	case v.road.Proxy != nil:
		return Result{State: OK, Found: fmt.Sprintf("the proxy at %s lets us through", w.connected)}
	default:
		return Result{State: OK, Found: w.connected + " takes it"}
	}
}

func (v *visit) checkTLS(context.Context) Result {
	w := v.way
	if !w.secured {
		r := brokenBy(w.err).because(w.err)
		var unverified *tls.CertificateVerificationError
		if errors.As(w.err, &unverified) && len(unverified.UnverifiedCertificates) > 0 {
			r.Notes = append(r.Notes, "the certificate is "+certificate(unverified.UnverifiedCertificates[0]))
		}
		return r
	}
	r := Result{State: OK, Found: tls.VersionName(w.session.Version)}
	if len(w.session.PeerCertificates) > 0 {
		r.Found += ", certificate " + certificate(w.session.PeerCertificates[0])
	}
	return r
}

func (v *visit) checkVault(context.Context) Result {
	w := v.way
	if w.err != nil {
		return brokenBy(w.err).because(w.err)
	}
	r := Result{State: OK, Found: fmt.Sprintf("%s answers as Key Vault, of tenant %s", w.host, w.challenge.TenantID)}
	if w.challenge.Region != "" {
		r.Found += ", in " + w.challenge.Region
	}
	if w.challenge.Seen != "" {
		r.Notes = append(r.Notes, "it sees us as "+w.challenge.Seen)
	}
	if w.challenge.Emulated {
		r.Notes = append(r.Notes, "this is the local cloud, not Azure")
	}
	return r
}

// Entra ID and Key Vault tolerate five minutes between their clocks and a token's times.
// https://learn.microsoft.com/entra/identity-platform/access-tokens#validate-tokens
const (
	skewTolerated = 5 * time.Minute
	skewNoticed   = 30 * time.Second
)

func (v *visit) checkClock(context.Context) Result {
	c := v.way.challenge
	if c.Date.IsZero() {
		return Result{State: Skipped, Found: "the vault does not say what time it is"}
	}
	skew := c.Date.Add(time.Second / 2).Sub(c.Asked) // the header has whole seconds
	remedies := []string{"sudo timedatectl set-ntp true", "in WSL after a sleep: sudo hwclock --hctosys"}
	switch size := skew.Abs(); {
	case size >= skewTolerated:
		return Result{State: Broken, Remedies: remedies,
			Found: fmt.Sprintf("this machine is %s %s the vault: its tokens are refused as not valid yet, or any more",
				roughly(size), side(skew))}
	case size >= skewNoticed:
		return Result{State: Warning, Remedies: remedies,
			Found: fmt.Sprintf("this machine is %s %s the vault", roughly(size), side(skew))}
	}
	return Result{State: OK, Found: "this machine agrees with the vault"}
}

func side(skew time.Duration) string {
	if skew > 0 {
		return "behind"
	}
	return "ahead of"
}

// look makes the first exchange. The parts of it may come from several goroutines.
func look(ctx context.Context, vault Vault, host string) way {
	w := way{host: host}
	var mu sync.Mutex
	locked := func(note func()) {
		mu.Lock()
		defer mu.Unlock()
		note()
	}
	traced := httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		DNSDone: func(info httptrace.DNSDoneInfo) {
			locked(func() {
				for _, a := range info.Addrs {
					if address, ok := netip.AddrFromSlice(a.IP); ok {
						w.addresses = append(w.addresses, address.Unmap())
					}
				}
			})
		},
		ConnectDone: func(_, address string, err error) {
			locked(func() {
				if err == nil {
					w.connected = address
				} else {
					w.failed = address
				}
			})
		},
		TLSHandshakeDone: func(session tls.ConnectionState, err error) {
			locked(func() {
				if err == nil {
					w.secured, w.session = true, session
				}
			})
		},
	})
	challenge, err := vault.Challenge(traced)
	mu.Lock()
	defer mu.Unlock()
	seen := w // a connection that is still being tried may note more
	seen.challenge, seen.err = challenge, err
	return seen
}

// because adds what the system says about it.
func (r Result) because(err error) Result {
	var known *fault.Error
	if errors.As(err, &known) && known.Err != nil {
		r.Notes = append(r.Notes, known.Err.Error())
	}
	return r
}

// certificate says whose one is.
func certificate(c *x509.Certificate) string {
	by := c.Issuer.CommonName
	if by == "" {
		by = c.Issuer.String()
	}
	name := c.Subject.CommonName
	if len(c.DNSNames) > 0 {
		name = c.DNSNames[0]
	}
	return fmt.Sprintf("of %s by %s, until %s", name, by, c.NotAfter.UTC().Format(time.DateOnly))
}

func hostOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return strings.ToLower(u.Hostname())
}

func joined[T fmt.Stringer](all []T) string {
	var texts []string
	for _, one := range all {
		texts = append(texts, one.String())
	}
	return strings.Join(texts, ", ")
}
