package entra

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

const (
	fuzzTenant = "11111111-2222-3333-4444-555555555555"
	fuzzSecret = "the~app's.secret"
)

// Whatever is posted to the token endpoint, only the secret itself gets a token, and no answer holds it.
func FuzzTokenRequest(f *testing.F) {
	key := sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) })
	s := New(Config{Key: key, Now: time.Now})
	err := s.AddApp(App{TenantID: fuzzTenant, ClientID: "app", ClientSecret: fuzzSecret, Federated: []FederatedCredential{
		{Subject: "s"}, {Issuer: "https://cluster.example", Subject: "s", Keys: jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: []byte("k")}}}},
	}})
	if err != nil {
		f.Fatal(err)
	}
	federated, err := s.FederatedToken("t") // of another subject
	if err != nil {
		f.Fatal(err)
	}
	const good = "grant_type=client_credentials&client_id=app&scope=https%3A%2F%2Fvault.azure.net%2F.default&client_secret="
	f.Add("/"+fuzzTenant+"/oauth2/v2.0/token", good+url.QueryEscape(fuzzSecret), "")
	f.Add("/"+fuzzTenant+"/oauth2/token", "grant_type=client_credentials&client_id=app&resource=https://vault.azure.net&client_secret=x", "")
	f.Add("/"+fuzzTenant+"/oauth2/v2.0/token", good, "Basic YXBwOng=")
	f.Add("/common/oauth2/v2.0/token", "%zz", "Basic")
	f.Add("/"+fuzzTenant+"/oauth2/v2.0/token", "grant_type=client_credentials&client_id=app&scope=https%3A%2F%2Fvault.azure.net%2F.default"+
		"&client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer&client_assertion="+federated, "")
	f.Fuzz(func(t *testing.T, path, body, authorization string) {
		r := &http.Request{
			Method: http.MethodPost, Host: "login.microsoftonline.com", URL: &url.URL{Path: path},
			Header: http.Header{"Content-Type": {"application/x-www-form-urlencoded"}, "Authorization": {authorization}},
			Body:   nopCloser{strings.NewReader(body)},
		}
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		if w.Code >= 500 {
			t.Fatalf("status %d: %s", w.Code, w.Body)
		}
		if w.Code/100 == 3 { // the path was not clean, and the mux says where it is
			return
		}
		var answer struct {
			Token string `json:"access_token"`
			Error string `json:"error"`
		}
		if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil {
			t.Fatalf("%d with what is not JSON: %s", w.Code, w.Body)
		}
		if (answer.Token == "") == (answer.Error == "") {
			t.Errorf("%d %s", w.Code, w.Body)
		}
		if knows := r.PostForm.Get("client_secret") == fuzzSecret; answer.Token != "" && !knows {
			t.Errorf("a token without the secret for %q %q %q", path, body, authorization)
		}
		if strings.Contains(w.Body.String(), fuzzSecret) && !strings.Contains(path, fuzzSecret) {
			t.Error("the answer holds the client secret")
		}
	})
}

type nopCloser struct{ *strings.Reader }

func (nopCloser) Close() error { return nil }
