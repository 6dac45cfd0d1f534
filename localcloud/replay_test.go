package localcloud

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/airlock-secrets/airlock/localcloud/identity"
	"github.com/airlock-secrets/airlock/localcloud/store"
)

// recording is one file of testdata/wire.
type recording struct {
	Recorded  string     `json:"recorded"`
	Exchanges []exchange `json:"exchanges"`
}

type exchange struct {
	Request struct {
		Method  string
		Path    string
		Headers struct {
			ContentType   string `json:"content-type"`
			Authorization bool   `json:"authorization"`
		}
		Body json.RawMessage
	}
	Response struct {
		Status  int
		Headers map[string]string
		Body    json.RawMessage
	}
	Repeated int
	Note     string
}

// TestRecordings plays each recorded exchange with the real service to the local cloud and compares the answers: status,
// the headers that were recorded, and the body to the last character. Times are not masked: the cloud's clock is set to
// the recorded moment. Masked are hosts, ids that are random, skip tokens, access tokens and backup blobs.
func TestRecordings(t *testing.T) {
	files, err := filepath.Glob("testdata/wire/*.json")
	if err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 {
		t.Fatal("there are no recordings in testdata/wire")
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".json"), func(t *testing.T) {
			raw, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var r recording
			if err := json.Unmarshal(raw, &r); err != nil {
				t.Fatal(err)
			}
			if len(r.Exchanges) == 0 {
				t.Fatal("the recording holds no exchange")
			}
			newReplay(t, r).run()
		})
	}
}

const (
	replayTenant = "12345678-1234-1234-1234-123456789012"
	replayHost   = "recorded.vault.azure.net"
	replayDelay  = 5 * time.Second // of what Azure shows late
)

type replay struct {
	t         *testing.T
	recording recording
	cloud     *Cloud
	now       time.Time
	token     string
	entra     bool
	nextLink  string            // of the answer before
	backup    string            // of the answer that had one
	ids       map[string]string // recorded version id -> ours
	minted    map[string]bool   // our version ids
}

func newReplay(t *testing.T, r recording) *replay {
	all, err := json.Marshal(r.Exchanges)
	if err != nil {
		t.Fatal(err)
	}
	p := &replay{t: t, recording: r, ids: map[string]string{}, minted: map[string]bool{}}
	p.entra = bytes.Contains(all, []byte("/oauth2/v2.0/token"))
	p.now = time.Date(2026, 6, 17, 0, 0, 0, 0, time.UTC)
	if first := created.FindSubmatch(all); first != nil {
		p.now = unixTime(t, first[1])
	}
	vault := Vault{URL: "https://" + replayHost, TenantID: replayTenant}
	if bytes.Contains(all, []byte(`"recoverableDays":7`)) {
		vault.RetentionDays = 7
	}
	if bytes.Contains(all, []byte("ForbiddenByRbac")) {
		vault.Permissions.Model = RBAC // and no role for the caller
	}
	p.cloud = Start(t, Config{
		Hermetic: true,
		Now:      func() time.Time { return p.now },
		Provision: Provision{
			Apps:       []App{{TenantID: replayTenant, ClientID: "azure_client_id", ClientSecret: "azure_client_secret"}},
			Identities: []ManagedIdentity{{TenantID: replayTenant, ClientID: "replay"}},
			Vaults:     []Vault{vault},
		},
	})
	var late Visibility // what the service showed late while it was recorded
	for text, delay := range map[string]*time.Duration{
		"Deleted Secret not found": &late.Deleted, "/recover?": &late.Recovered, "conflict restoring": &late.Purged,
	} {
		if bytes.Contains(all, []byte(text)) {
			*delay = replayDelay
		}
	}
	if err := p.cloud.SetFaults(Faults{Visibility: late}); err != nil {
		t.Fatal(err)
	}
	p.token = p.accessToken()
	p.preload()
	return p
}

func (p *replay) accessToken() string {
	request, _ := http.NewRequestWithContext(p.t.Context(), http.MethodGet, "http://"+identity.IMDSHost+
		"/metadata/identity/oauth2/token?api-version=2018-02-01&resource=https://vault.azure.net", nil)
	request.Header.Set("Metadata", "true")
	response, err := p.cloud.HTTPClient().Do(request)
	if err != nil {
		p.t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	var token struct {
		Value string `json:"access_token"`
	}
	if err := json.NewDecoder(response.Body).Decode(&token); err != nil || token.Value == "" {
		p.t.Fatalf("no token: %d, %v", response.StatusCode, err)
	}
	return token.Value
}

var (
	created    = regexp.MustCompile(`"created": ?(\d+)`)
	anyTime    = regexp.MustCompile(`"(?:created|updated|deletedDate)": ?(\d+)`)
	versionID  = regexp.MustCompile(`[0-9a-f]{32}`)
	skipToken  = regexp.MustCompile(`(skiptoken=)[0-9A-Za-z_-]+`)
	tenantID   = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)
	vaultHost  = regexp.MustCompile(`https://[0-9A-Za-z_-]+\.vault\.azure\.net`)
	noToken    = regexp.MustCompile(`(AKV10000: )?Request is missing a Bearer(, PoP, or MTLS_POP| or PoP) token\.`)
	tokenValue = regexp.MustCompile(`("access_token": ?)"[^"]*"`)
)

func unixTime(t *testing.T, digits []byte) time.Time {
	var seconds int64
	if _, err := fmt.Sscan(string(digits), &seconds); err != nil {
		t.Fatal(err)
	}
	return time.Unix(seconds, 0).UTC()
}

// preload puts into the vault what was in it before the recording: names that a list shows although no exchange set
// them, and deleted names where a page was empty although more came behind it.
func (p *replay) preload() {
	set := map[string]bool{}
	for _, e := range p.recording.Exchanges {
		if e.Request.Method == http.MethodPut {
			set[strings.Split(pathOf(e), "/")[2]] = true
		}
	}
	var before string // name of the last item of the pages so far
	var filler int
	record := func(w store.Writer, name string, deleted bool, v store.Version) error {
		s := store.Secret{Name: name, Current: v.ID}
		if deleted {
			s.Deletion = &store.Deletion{At: p.now.Unix(), Purge: p.now.Add(24 * time.Hour).Unix()}
		}
		if err := w.PutSecret(s); err != nil {
			return err
		}
		return w.PutVersion(name, v)
	}
	err := p.cloud.store.Update(replayHost, func(w store.Writer) error {
		for _, e := range p.recording.Exchanges {
			if e.Request.Method != http.MethodGet || pathOf(e) != "/secrets" {
				continue
			}
			var page struct {
				Value []struct {
					ID          string
					ContentType string
					Managed     bool
					Attributes  struct {
						Enabled          bool
						NBF, Exp         *int64
						Created, Updated int64
					}
				}
				NextLink *string
			}
			if err := json.Unmarshal(e.Response.Body, &page); err != nil {
				return err
			}
			for _, item := range page.Value {
				before = item.ID[strings.LastIndex(item.ID, "/")+1:]
				if set[before] {
					continue
				}
				a := item.Attributes
				err := record(w, before, false, store.Version{
					ID: strings.Repeat("0", 32), ContentType: item.ContentType, Managed: item.Managed, Enabled: a.Enabled,
					NotBefore: a.NBF, Expires: a.Exp, Created: a.Created, Updated: a.Updated,
				})
				if err != nil {
					return err
				}
			}
			if len(page.Value) > 0 {
				if strings.Contains(e.Request.Path, "maxresults") || page.NextLink == nil {
					continue
				}
			}
			// What fills the page, or the rest of it, was there and deleted.
			for range pageSize(e)*max(1, e.Repeated) - len(page.Value) {
				filler++
				// Sorts behind the last item and before the next: hyphens and digits come first.
				if err := record(w, fmt.Sprintf("%s--%04d", before, filler), true, store.Version{ID: strings.Repeat("1", 32)}); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		p.t.Fatal(err)
	}
}

func pageSize(e exchange) int {
	u, err := url.Parse(e.Request.Path)
	if err != nil || !u.Query().Has("maxresults") {
		return 25
	}
	var n int
	_, _ = fmt.Sscan(u.Query().Get("maxresults"), &n)
	return n
}

func pathOf(e exchange) string {
	path, _, _ := strings.Cut(e.Request.Path, "?")
	return path
}

func (p *replay) run() {
	var before exchange
	for i, e := range p.recording.Exchanges {
		for range max(1, e.Repeated) {
			p.exchange(i, before, e)
		}
		before = e
	}
}

func (p *replay) exchange(i int, before, e exchange) {
	// The same question with a new answer: in between, what the service shows late came into sight.
	if before.Request.Path == e.Request.Path && before.Request.Method == e.Request.Method &&
		before.Request.Headers == e.Request.Headers && before.Response.Status != e.Response.Status {
		p.now = p.now.Add(replayDelay)
	}
	for _, match := range anyTime.FindAllSubmatch(e.Response.Body, -1) {
		if at := unixTime(p.t, match[1]); at.After(p.now) {
			p.now = at
		}
	}
	status, header, body := p.do(e)
	if status != e.Response.Status {
		p.t.Fatalf("exchange %d, %s %s: status %d, recorded %d\n%s", i, e.Request.Method, e.Request.Path, status, e.Response.Status, body)
	}
	p.compareHeaders(i, e, header)
	p.compareBody(i, e, body)
	p.remember(e, body)
}

// remember keeps what later requests refer to.
func (p *replay) remember(e exchange, body []byte) {
	var answer struct {
		Value    json.RawMessage
		NextLink string
		ID       string
	}
	_ = json.Unmarshal(body, &answer) // an error's body has none of it
	p.nextLink = answer.NextLink
	if strings.HasSuffix(pathOf(e), "/backup") && e.Response.Status == http.StatusOK {
		_ = json.Unmarshal(answer.Value, &p.backup)
	}
	if e.Request.Method == http.MethodPut && e.Response.Status == http.StatusOK {
		ours, recorded := versionID.Find(body), versionID.Find(e.Response.Body)
		p.ids[string(recorded)], p.minted[string(ours)] = string(ours), true
	}
}

func (p *replay) do(e exchange) (int, http.Header, []byte) {
	target := "https://" + replayHost + e.Request.Path
	if p.entra {
		target = "https://login.microsoftonline.com" + e.Request.Path
	}
	for recorded, ours := range p.ids {
		target = strings.ReplaceAll(target, recorded, ours)
	}
	switch {
	case strings.Contains(target, "skiptoken="):
		target = p.nextLink
	case strings.HasSuffix(target, "/common/discovery/instance"): // its query was not recorded
		target += "?api-version=1.1&authorization_endpoint=" +
			url.QueryEscape("https://login.microsoftonline.com/"+replayTenant+"/oauth2/v2.0/authorize")
	case !p.entra && !strings.Contains(target, "?"): // nor was the query of the oldest file
		target += "?api-version=7.1"
	}
	var body io.Reader
	if content := p.requestBody(e); content != nil {
		body = bytes.NewReader(content)
	}
	request, err := http.NewRequestWithContext(p.t.Context(), e.Request.Method, target, body)
	if err != nil {
		p.t.Fatal(err)
	}
	if e.Request.Headers.Authorization {
		request.Header.Set("Authorization", "Bearer "+p.token)
	}
	if e.Request.Headers.ContentType != "" {
		request.Header.Set("Content-Type", e.Request.Headers.ContentType)
	}
	if p.entra && body != nil {
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	response, err := p.cloud.HTTPClient().Do(request)
	if err != nil {
		p.t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	return response.StatusCode, response.Header, answer
}

func (p *replay) requestBody(e exchange) []byte {
	raw := e.Request.Body
	if len(raw) == 0 || string(raw) == "null" {
		return nil
	}
	if raw[0] == '"' { // a form
		var form string
		if err := json.Unmarshal(raw, &form); err != nil {
			p.t.Fatal(err)
		}
		return []byte(form)
	}
	if strings.HasSuffix(pathOf(e), "/restore") && bytes.Contains(raw, []byte("TRUNCATED")) {
		raw, _ = json.Marshal(map[string]string{"value": p.backup})
	}
	return raw
}

// unsteady are headers whose value says which service and deployment it was.
var unsteady = []string{"x-ms-keyvault-service-version"}

func (p *replay) compareHeaders(i int, e exchange, header http.Header) {
	for name, recorded := range e.Response.Headers {
		ours := header.Get(name)
		switch {
		case name == "x-powered-by": // gone from the newest service
			continue
		case slices.Contains(unsteady, name):
			if ours == "" {
				p.t.Errorf("exchange %d: the header %s is missing", i, name)
			}
			continue
		case name == "www-authenticate":
			recorded = strings.ReplaceAll(recorded, "login.windows.net", "login.microsoftonline.com")
			recorded = tenantID.ReplaceAllString(recorded, "TENANT")
			ours = tenantID.ReplaceAllString(ours, "TENANT")
		}
		if ours != recorded {
			p.t.Errorf("exchange %d: header %s: %q, recorded %q", i, name, ours, recorded)
		}
	}
	for _, name := range []string{"content-type", "www-authenticate", "x-ms-keyvault-rbac-assignment-id"} {
		if e.Response.Headers[name] == "" && header.Get(name) != "" {
			p.t.Errorf("exchange %d: header %s: %q, and none was recorded", i, name, header.Get(name))
		}
	}
}

func (p *replay) compareBody(i int, e exchange, body []byte) {
	if strings.Contains(e.Note, "body not captured") || strings.Contains(e.Note, "body elided") {
		return
	}
	want, got := string(e.Response.Body), string(body)
	if want == "null" {
		want = ""
	}
	if strings.HasSuffix(pathOf(e), "/backup") && e.Response.Status == http.StatusOK {
		var blob struct{ Value string }
		if err := json.Unmarshal(body, &blob); err != nil || !strings.HasPrefix(blob.Value, "KUF6dXJlS2V5VmF1bHRTZWNyZXRCYWNrdXBWMS5taWNyb3NvZnQuY29t") {
			p.t.Errorf("exchange %d: the backup does not begin as the recorded one", i)
		}
		return
	}
	for recorded, ours := range p.ids { // the same version must be the same everywhere
		want = strings.ReplaceAll(want, recorded, ours)
	}
	want, got = p.mask(want, e), p.mask(got, e)
	if newest := strings.HasPrefix(e.Response.Headers["x-ms-keyvault-service-version"], "1.9.34"); !newest {
		want, got = sorted(p.t, want), sorted(p.t, got) // the order of fields was another once
	} else {
		want = compact(p.t, want)
	}
	if want != got {
		p.t.Errorf("exchange %d, %s %s: body\n%s", i, e.Request.Method, e.Request.Path, cmp.Diff(want, got))
	}
}

func (p *replay) mask(body string, e exchange) string {
	body = vaultHost.ReplaceAllString(body, "https://VAULT")
	body = skipToken.ReplaceAllString(body, "${1}TOKEN")
	body = noToken.ReplaceAllString(body, "NO TOKEN")
	body = tokenValue.ReplaceAllString(body, `$1"TOKEN"`)
	if e.Request.Method == http.MethodPut || strings.HasSuffix(pathOf(e), "/versions") { // ids just made, or in their order
		body = versionID.ReplaceAllString(body, "VERSION")
	}
	return body
}

func compact(t *testing.T, body string) string {
	if body == "" {
		return ""
	}
	var b bytes.Buffer
	if err := json.Compact(&b, []byte(body)); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func sorted(t *testing.T, body string) string {
	if body == "" {
		return ""
	}
	var v any
	if err := json.Unmarshal([]byte(body), &v); err != nil {
		t.Fatalf("%v in %s", err, body)
	}
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}
