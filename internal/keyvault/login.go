package keyvault

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"regexp"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"

	"github.com/airlock-secrets/airlock/internal/fault"
)

var (
	reach  = verb{deed: "reach the vault"}
	signIn = verb{deed: "log in"}
)

// Challenge is what a vault says to whoever comes without a token.
type Challenge struct {
	Authority string // of Entra ID, such as https://login.microsoftonline.com
	TenantID  string // whose tokens the vault takes
	Audience  string // for which it takes them, such as https://vault.azure.net

	Region   string    // where the vault is; "" when it does not say
	Seen     string    // the address from which it saw the request come; "" when it does not say
	Date     time.Time // by its clock, to the second; zero when it does not say
	Asked    time.Time // by this machine's clock, when the answer came
	Emulated bool      // the local cloud says of itself that it is not Azure
}

var (
	challengeParts = regexp.MustCompile(`\bauthorization="?(https://[^/"\s,]+)/([^/"\s,]+)`)
	challengeFor   = regexp.MustCompile(`\b(?:resource|scope)="?(https://[^"\s,]+)`)
	seenAddress    = regexp.MustCompile(`\baddr=([0-9a-fA-F.:]+)`)
)

// Challenge asks the vault without a token, once, and reads how it refuses: it shows the way there without a login. A
// trace of net/http/httptrace in the context sees the way.
func (c *Client) Challenge(ctx context.Context) (Challenge, error) {
	traced, seen := withTrace(ctx)
	seen.host = c.host
	failed := func(err error) (Challenge, error) {
		return Challenge{}, c.explain(failure{ctx: ctx, op: operation{verb: reach}, seen: seen, err: err})
	}
	// The version is one that every vault knows. A list is what needs no name.
	req, err := http.NewRequestWithContext(traced, http.MethodGet, "https://"+c.host+"/secrets?maxresults=1&api-version=7.4", nil)
	if err != nil {
		return failed(err)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		seen.err = err
		return failed(err)
	}
	defer resp.Body.Close()
	seen.status = resp.StatusCode
	if resp.StatusCode != http.StatusUnauthorized {
		return failed(runtime.NewResponseError(resp))
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10))
	header := resp.Header.Get("WWW-Authenticate")
	parts, audience := challengeParts.FindStringSubmatch(header), challengeFor.FindStringSubmatch(header)
	if parts == nil || audience == nil {
		return failed(errNotKeyVault)
	}
	to := Challenge{
		Authority: parts[1], TenantID: parts[2], Audience: strings.TrimSuffix(audience[1], "/.default"),
		Region: resp.Header.Get("x-ms-keyvault-region"), Asked: time.Now(),
		Emulated: resp.Header.Get("X-Airlock-Local-Cloud") != "",
	}
	to.Date, _ = http.ParseTime(resp.Header.Get("Date"))
	if address := seenAddress.FindStringSubmatch(resp.Header.Get("x-ms-keyvault-network-info")); address != nil {
		to.Seen = address[1]
	}
	return to, nil
}

// Login is whom a token speaks for, by the token's own claims. Nobody but the vault verifies them; they serve to be shown.
// A text is empty where the token does not say.
type Login struct {
	Credential string // that gave the token, by azidentity's name, such as ManagedIdentityCredential

	AppID, ObjectID, TenantID string

	User     string // the name of a person who logged in
	Audience string
	Expires  time.Time // by this machine's clock, as the SDK believes it
}

// Login gets a token for a vault that challenged, as each operation does, and tells whose it is. Where the vault belongs to
// another tenant than the login, it is a token of the login's own tenant.
func (c *Client) Login(ctx context.Context, to Challenge) (Login, error) {
	token, gave, err := c.token(ctx, to.Audience, to.TenantID)
	if err != nil && fault.CaseOf(err) == caseOtherTenant {
		if own, from, otherwise := c.token(ctx, to.Audience, ""); otherwise == nil {
			token, gave, err = own, from, nil
		}
	}
	if err != nil {
		return Login{}, err
	}
	login := Login{Credential: gave, Expires: token.expires}
	login.read(token.raw)
	return login, nil
}

type rawToken struct {
	raw     string
	expires time.Time
}

func (c *Client) token(ctx context.Context, audience, tenant string) (rawToken, string, error) {
	traced, seen := withTrace(ctx)
	token, err := c.session.Load().cred.GetToken(traced, policy.TokenRequestOptions{
		Scopes: []string{audience + "/.default"}, TenantID: tenant, EnableCAE: true,
	})
	if err != nil {
		return rawToken{}, "", c.explain(failure{ctx: ctx, op: operation{verb: signIn}, seen: seen, err: err})
	}
	return rawToken{token.Token, token.ExpiresOn}, seen.gave, nil
}

// showable bounds what is shown of a token: ids, names and addresses, nothing that steers a terminal. It is no regexp, for a
// class of all letters that may come 256 times takes 6 MB.
func showable(claim string) bool {
	strange := func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsNumber(r) && !strings.ContainsRune("@._:/#+ -", r)
	}
	return claim != "" && utf8.RuneCountInString(claim) <= 256 && utf8.ValidString(claim) && !strings.ContainsFunc(claim, strange)
}

// read takes the claims out of a JWT; a token of another kind has none
// (https://learn.microsoft.com/entra/identity-platform/access-token-claims-reference).
func (l *Login) read(token string) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return
	}
	raw, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(parts[1], "="))
	if err != nil {
		return
	}
	var claims struct {
		AppID      string `json:"appid"`
		AuthorID   string `json:"azp"` // the same in tokens of version 2
		ObjectID   string `json:"oid"`
		TenantID   string `json:"tid"`
		Audience   string `json:"aud"`
		UPN        string `json:"upn"`
		UniqueName string `json:"unique_name"`
	}
	if json.Unmarshal(raw, &claims) != nil {
		return
	}
	first := func(texts ...string) string {
		for _, text := range texts {
			if showable(text) {
				return text
			}
		}
		return ""
	}
	l.AppID, l.ObjectID, l.TenantID = first(claims.AppID, claims.AuthorID), first(claims.ObjectID), first(claims.TenantID)
	l.Audience, l.User = first(claims.Audience), first(claims.UPN, claims.UniqueName)
}
