package keyvault

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/airlock-secrets/airlock/localcloud/clouds"
	"github.com/airlock-secrets/airlock/localcloud/entra"
	"github.com/airlock-secrets/airlock/localcloud/store"
)

const (
	fuzzTenant = "11111111-2222-3333-4444-555555555555"
	canary     = "a-canary-in-the-value"
)

var fuzzKey = sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) })

// newService gives a service with a vault, a secret that holds the canary, and a token for it.
func newService(f *testing.F) (s *Service, token string, log *bytes.Buffer) {
	f.Helper()
	directory := entra.New(entra.Config{Key: fuzzKey, Now: time.Now})
	if err := directory.AddTenant(fuzzTenant); err != nil {
		f.Fatal(err)
	}
	log = new(bytes.Buffer)
	s = New(Config{
		Store: store.NewMemory(), Keys: directory.Keys, BackupKey: make([]byte, 32), Now: time.Now,
		Log: slog.New(slog.NewTextHandler(log, nil)),
	})
	if err := s.AddVault(Vault{URL: "https://fuzz.vault.azure.net", TenantID: fuzzTenant}); err != nil {
		f.Fatal(err)
	}
	if err := s.SetSecrets("https://fuzz.vault.azure.net", map[string]string{"kept": canary}); err != nil {
		f.Fatal(err)
	}
	issued, err := directory.Issue(clouds.All[0], entra.Grant{
		Principal: entra.Principal{TenantID: fuzzTenant, ClientID: "c", ObjectID: "o"}, Resource: "https://vault.azure.net", Lifetime: time.Hour,
	})
	if err != nil {
		f.Fatal(err)
	}
	return s, issued.Raw, log
}

// Whatever a client sends, the answer is one of the service's: JSON of its shape, never a failure of ours.
func FuzzRequest(f *testing.F) {
	s, token, log := newService(f)
	f.Add("PUT", "/secrets/a", "api-version=7.4", `{"value":"1","tags":{"a":"b"},"attributes":{"enabled":true,"exp":1}}`)
	f.Add("GET", "//secrets//kept/", "api%2Dversion=2025-07-01", "")
	f.Add("GET", "/secrets", "api-version=7.6&maxresults=1&$skiptoken=eyJOZXh0TWFya2VyIjoiQSJ9", "")
	f.Add("PATCH", "/secrets/kept/", "api-version=7.6-preview.2", `{"attributes":{}}`)
	f.Add("POST", "/secrets/restore", "api-version=7.4", `{"value":"KUF6dXJlS2V5VmF1bHRTZWNyZXRCYWNrdXBWMS5taWNyb3NvZnQuY29t"}`)
	f.Add("POST", "/deletedsecrets/kept/recover", "api-version=7.4", "")
	f.Add("DELETE", "/keys/%00", "api-version=7.4", "")
	f.Fuzz(func(t *testing.T, method, path, query, body string) {
		r := &http.Request{
			Method: method, Host: "fuzz.vault.azure.net", RemoteAddr: "127.0.0.1:1",
			URL:    &url.URL{Path: path, RawQuery: query},
			Header: http.Header{"Authorization": {"Bearer " + token}},
			Body:   http.NoBody,
		}
		if body != "" {
			r.Body = nopCloser{strings.NewReader(body)}
		}
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r.WithContext(t.Context()))
		if w.Code == http.StatusNoContent && w.Body.Len() == 0 {
			return
		}
		if w.Code >= 500 && w.Code != http.StatusNotImplemented {
			t.Fatalf("status %d: %s; log: %s", w.Code, w.Body, log)
		}
		var answer struct {
			Error *struct{ Code, Message string }
		}
		if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil {
			t.Fatalf("%d with what is not JSON: %s", w.Code, w.Body)
		}
		if (w.Code != http.StatusOK) != (answer.Error != nil && answer.Error.Code != "" && answer.Error.Message != "") {
			t.Errorf("%d: %s", w.Code, w.Body)
		}
		if answer.Error != nil && strings.Contains(w.Body.String(), canary) {
			t.Error("an error holds the value of a secret")
		}
	})
}

type nopCloser struct{ *strings.Reader }

func (nopCloser) Close() error { return nil }

// A token that we did not issue never lets anybody in.
func FuzzAuthorization(f *testing.F) {
	s, token, _ := newService(f)
	parts := strings.Split(token, ".")
	f.Add("Bearer " + token)
	f.Add("bearer  " + parts[0] + "." + parts[1] + ".")
	f.Add("Bearer " + base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`)) + "." + parts[1] + ".")
	f.Add("PoP x")
	v := s.vault("fuzz.vault.azure.net")
	f.Fuzz(func(t *testing.T, authorization string) {
		caller, err := s.authenticate(v, authorization)
		var refusal *Error
		switch scheme, raw, _ := strings.Cut(authorization, " "); {
		case err == nil:
			if !strings.EqualFold(scheme, "Bearer") || strings.TrimSpace(raw) != token || caller.AppID != "c" {
				t.Errorf("let in: %q as %+v", authorization, caller)
			}
		case !errors.As(err, &refusal) || refusal.Status != http.StatusUnauthorized || !refusal.challenge:
			t.Errorf("%q: %v", authorization, err)
		}
	})
}

// Only what was sealed opens, and it opens to what was sealed.
func FuzzBackup(f *testing.F) {
	key := []byte("0123456789abcdef0123456789abcdef")
	whole := backup{
		Secret:   store.Secret{Name: "n", Current: strings.Repeat("0", 32)},
		Versions: []store.Version{{ID: strings.Repeat("0", 32), Value: canary, Tags: map[string]string{"a": "b"}, Enabled: true}},
	}
	sealed, err := sealBackup(whole, key)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(sealed)
	f.Add("bm9uLWV4aXN0aW5n")
	f.Add("")
	f.Add(sealed[:len(sealed)-4])
	f.Fuzz(func(t *testing.T, blob string) {
		opened, err := openBackup(blob, key)
		var refusal *Error
		switch {
		case err == nil:
			if diff := cmp.Diff(whole, opened); diff != "" {
				t.Errorf("%q opened to something else: %s", blob, diff)
			}
		case !errors.As(err, &refusal) || refusal.Status != http.StatusBadRequest || strings.Contains(err.Error(), canary):
			t.Errorf("%q: %v", blob, err)
		}
	})
}

// An accepted URL is a vault of one of the clouds, and stays the same when its host is written down.
func FuzzParseURL(f *testing.F) {
	for _, seed := range []string{
		"https://my-vault.vault.azure.net/", "HTTPS://My-Vault.Vault.Azure.Net:443", "https://a.vault.azure.cn", "https://x@a.vault.azure.net/?q#f", "vault",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		host, err := ParseURL(raw)
		if err != nil {
			return
		}
		again, err := ParseURL("https://" + host + "/")
		if err != nil || again != host || host != strings.ToLower(host) {
			t.Errorf("%q is %q, which is %q, %v", raw, host, again, err)
		}
		if !slices.ContainsFunc(clouds.All, func(c clouds.Cloud) bool { return strings.HasSuffix(host, "."+c.VaultSuffix) }) {
			t.Errorf("%q is taken for the vault %q", raw, host)
		}
	})
}
