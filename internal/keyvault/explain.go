package keyvault

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	"github.com/airlock-secrets/airlock/internal/rest"
	"github.com/airlock-secrets/airlock/internal/secret"
)

// operation is what was asked of the vault.
type operation struct {
	verb  verb
	name  string       // of the secret; empty for a list
	value secret.Value // to set; empty otherwise
}

type verb struct {
	deed       string // "may not {deed}"; %s is the secret
	permission string // in an access policy
	role       string // built-in role that allows it (https://learn.microsoft.com/azure/key-vault/general/rbac-guide)
}

var (
	get  = verb{"read %s", "get", "Key Vault Secrets User"}
	list = verb{"list the secrets", "list", "Key Vault Secrets User"}
	set  = verb{"write %s", "set", "Key Vault Secrets Officer"}
	del  = verb{"delete %s", "delete", "Key Vault Secrets Officer"}

	listDeleted = verb{"list the deleted secrets", "list", "Key Vault Secrets User"}
	recovery    = verb{"recover %s", "recover", "Key Vault Secrets Officer"}
)

func (o operation) deed() string {
	if !o.verb.named() {
		return o.verb.deed
	}
	return fmt.Sprintf(o.verb.deed, "secret "+strconv.Quote(o.name))
}

// named tells whether the verb is about one secret, whose name its errors hold.
func (v verb) named() bool { return strings.Contains(v.deed, "%s") }

// failure is a call that failed: what was asked, what was seen on the way, and what the SDK says.
type failure struct {
	ctx  context.Context
	op   operation
	seen *trace
	err  error
}

// stage is where a call failed.
type stage int

const (
	inSDK    stage = iota // somewhere else
	atCaller              // the caller's context ended
	atShare               // we did not ask, to leave the vault alone
	atWire                // nobody answered, or somebody else
	atVault               // the vault refused
	atLogin               // a credential was refused
	atChain               // no credential was there
)

// problem is a failure taken apart: everything that the table of remedies asks about. What came from outside serves to
// recognise the case; whatever of it is shown goes through Client.show.
type problem struct {
	stage  stage
	op     operation
	host   string
	status int    // of HTTP; 0 without an answer
	code   string // Key Vault's error code, or Entra ID's error
	inner  string // Key Vault's inner error code
	entra  int    // the number behind AADSTS; 0 if there is none

	message string
	reason  string // of the credential that failed, or of all of them
	err     error  // of the network, the caller's context or the SDK

	credential string
	wait       time.Duration // Retry-After; 0 when it does not say
	id         string        // the request's id, by which Microsoft finds it
}

// explain is the one place where an SDK's error becomes ours.
func (c *Client) explain(f failure) error {
	p := c.dissect(f)
	row := remedies[len(remedies)-1]
	for _, r := range remedies {
		if r.stage == p.stage && r.when(p) {
			row = r
			break
		}
	}
	explained := row.fault(c.words(p), c.cause(p))
	explained.RetryAfter, explained.Case = min(p.wait, longestPause), row.id
	return explained
}

// dissect finds out what happened.
func (c *Client) dissect(f failure) problem {
	p := problem{op: f.op, host: f.seen.host, status: f.seen.status}
	if p.host == "" {
		p.host = c.host
	}
	var refused *azcore.ResponseError
	var held *heldBack
	switch {
	case errors.As(f.err, &held):
		p.stage, p.err, p.wait = atShare, held, held.wait
	case errors.As(f.err, &refused):
		p.stage = atVault
		p.readVault(refused.RawResponse)
	case f.ctx.Err() != nil:
		p.stage, p.err = atCaller, f.ctx.Err()
	case errors.Is(f.err, errNotKeyVault) || strings.HasPrefix(f.err.Error(), "unmarshalling type"):
		// azcore's and azsecrets' words for a body that is not what it should be; the rest of them may quote it.
		p.stage, p.err = atWire, errNotKeyVault
	case f.seen.err != nil && f.seen.host == c.host:
		// Before the login's attempts: a token that was renewed ahead of time in vain is not why the vault is silent.
		p.stage, p.err = atWire, f.seen.err
	case len(f.seen.attempts) > 0:
		c.readLogin(&p, f)
	case f.seen.err != nil:
		p.stage, p.err = atWire, f.seen.err
	default:
		p.stage, p.err, p.message = inSDK, f.err, f.err.Error()
	}
	return p
}

// readVault takes Key Vault's error apart: {"error":{"code","message","innererror":{"code"}}}
// (https://learn.microsoft.com/azure/key-vault/general/authentication-requests-and-responses).
func (p *problem) readVault(resp *http.Response) {
	var body struct {
		Error struct {
			Code       string `json:"code"`
			Message    string `json:"message"`
			InnerError struct {
				Code string `json:"code"`
			} `json:"innererror"`
		} `json:"error"`
	}
	p.readAnswer(resp, &body)
	p.code, p.inner, p.message = body.Error.Code, body.Error.InnerError.Code, body.Error.Message
	if p.code == "" && p.status < 500 && p.status != http.StatusTooManyRequests {
		p.stage, p.err = atWire, errNotKeyVault // Key Vault never refuses without a code; a gateway or a portal does
	}
}

// readLogin takes apart what the credentials said. The chain ends with the first that fails in earnest, so the last
// attempt is the one to explain, unless all of them were merely not available.
func (c *Client) readLogin(p *problem, f failure) {
	last := f.seen.attempts[len(f.seen.attempts)-1]
	p.credential, p.status = last.credential, 0
	var refused *azidentity.AuthenticationFailedError
	if !errors.As(f.err, &refused) {
		p.stage = atChain
		var tried []string
		for _, a := range f.seen.attempts {
			tried = append(tried, a.credential+" ("+c.show(*p, a.reason())+")")
		}
		p.reason = strings.Join(tried, ", ")
		return
	}
	p.stage = atLogin
	p.reason = c.show(*p, last.reason())
	p.message = last.err.Error()
	switch {
	case errors.As(last.err, &refused) && refused.RawResponse != nil:
		// https://learn.microsoft.com/entra/identity-platform/reference-error-codes
		var body struct {
			Error       string `json:"error"`
			Description string `json:"error_description"`
		}
		p.readAnswer(refused.RawResponse, &body)
		p.code, p.message = body.Error, body.Description
		if m := entraNumber.FindStringSubmatch(p.message); m != nil {
			p.entra, _ = strconv.Atoi(m[1])
		}
	case f.seen.err != nil:
		p.stage = atWire
		p.err = f.seen.err
	}
}

var entraNumber = regexp.MustCompile(`\bAADSTS(\d{4,9})\b`)

// readAnswer reads what every answer has; a body that is not JSON leaves the fields empty.
func (p *problem) readAnswer(resp *http.Response, body any) {
	p.status = resp.StatusCode
	if resp.Request != nil {
		p.host = resp.Request.URL.Host
	}
	p.wait = rest.RetryAfter(resp.Header)
	p.id = resp.Header.Get("x-ms-request-id")
	if raw, err := runtime.Payload(resp); err == nil {
		_ = json.Unmarshal(raw, body)
	}
}

// show passes on a text from outside, on one line and not too long, unless it holds what must not be seen.
func (c *Client) show(p problem, text string) string {
	for _, hidden := range []secret.Value{c.hidden, p.op.value} {
		if hidden.Len() > 0 && strings.Contains(text, string(hidden.Reveal())) {
			return ""
		}
	}
	text = strings.Join(strings.Fields(text), " ")
	const most = 600
	if runes := []rune(text); len(runes) > most {
		text = string(runes[:most]) + "..."
	}
	return text
}

// reason says in a few words why a credential gave no token: azidentity's first sentence, for the rest is advice to
// programmers.
func (a attempt) reason() string {
	text, _, _ := strings.Cut(strings.TrimPrefix(a.err.Error(), a.credential+": "), "\n")
	text, _, _ = strings.Cut(text, ". ")
	return strings.TrimRight(text, ". \r")
}

// cause is what the log gets. It holds codes and ids, and a service's own words only where they cannot echo a value
// that was sent there.
func (c *Client) cause(p problem) error {
	switch p.stage {
	case atCaller:
		return p.err
	case atShare:
		return nil // the message says it all
	case atWire:
		return networkCause(p.err)
	case atChain:
		return nil // the message says it all
	case inSDK:
		return cutQuoted(p.err)
	}
	parts := []string{p.host}
	if p.credential != "" {
		parts = append(parts, p.credential)
	}
	if p.status != 0 {
		parts = append(parts, fmt.Sprintf("HTTP %d", p.status))
	}
	said := []string{p.code, p.inner}
	if p.op.verb != set {
		said = append(said, p.message)
	}
	if p.id != "" {
		said = append(said, "request id "+p.id)
	}
	for _, text := range said {
		if text = c.show(p, text); text != "" {
			parts = append(parts, text)
		}
	}
	return errors.New(strings.Join(parts, ": "))
}

// networkCause keeps the errors that are made on this machine and hold only addresses and reasons.
func networkCause(err error) error {
	var (
		proxy      *proxyError
		unverified *tls.CertificateVerificationError
		op         *net.OpError
	)
	switch {
	case errors.As(err, &proxy):
		return proxy
	case errors.As(err, &unverified):
		return unverified
	case errors.As(err, &op):
		return op
	}
	return cutQuoted(err)
}

// cutQuoted keeps the text of an error up to its first quotation mark: what Go and the SDK quote may come from the
// other side.
func cutQuoted(err error) error {
	var addressed *url.Error
	if errors.As(err, &addressed) {
		err = addressed.Err
	}
	text, _, cut := strings.Cut(err.Error(), `"`)
	text = strings.Join(strings.Fields(text), " ")
	if cut {
		text += " ..."
	}
	return errors.New(text)
}

func isTimeout(err error) bool {
	var slow net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &slow) && slow.Timeout()
}

func isUnknownHost(err error) bool {
	var dns *net.DNSError
	return errors.As(err, &dns) && dns.IsNotFound
}

func isUntrusted(err error) bool {
	var unverified *tls.CertificateVerificationError
	var authority x509.UnknownAuthorityError
	var name x509.HostnameError
	return errors.As(err, &unverified) || errors.As(err, &authority) || errors.As(err, &name)
}

func isProxy(err error) bool {
	var refused *proxyError
	var unreachable *net.OpError
	return errors.As(err, &refused) || errors.As(err, &unreachable) && unreachable.Op == "proxyconnect"
}
