package identity

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	"github.com/airlock-secrets/airlock/localcloud/clouds"
	"github.com/airlock-secrets/airlock/localcloud/entra"
)

// giver gives a token that says for whom it is.
type giver struct{}

func (giver) Issue(_ clouds.Cloud, g entra.Grant) (entra.Token, error) {
	return entra.Token{Raw: g.Principal.ClientID}, nil
}

// Whatever is asked, the answer is JSON, and a token is that of the identity that was named.
func FuzzQuery(f *testing.F) {
	s := New(Config{Tokens: giver{}, Header: "header"})
	for _, id := range []ManagedIdentity{{TenantID: "t", ClientID: "a", ObjectID: "o", ResourceID: "/r"}, {TenantID: "t", ClientID: "b"}} {
		if err := s.Add(id); err != nil {
			f.Fatal(err)
		}
	}
	f.Add("/metadata/identity/oauth2/token", "api-version=2018-02-01&resource=https://vault.azure.net&client_id=A", "true")
	f.Add("/metadata/identity/oauth2/token/", "api-version=2018-02-01&resource=x&mi_res_id=/R", "TRUE")
	f.Add("/x", "%zz&;", "")
	f.Fuzz(func(t *testing.T, path, query, metadata string) {
		r := &http.Request{Method: http.MethodGet, URL: &url.URL{Path: path, RawQuery: query}, Header: http.Header{"Metadata": {metadata}}}
		w := httptest.NewRecorder()
		s.IMDS(w, r)
		var answer struct {
			Token string `json:"access_token"`
			ID    string `json:"client_id"`
			Error string `json:"error"`
		}
		if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil {
			t.Fatalf("%d with what is not JSON: %s", w.Code, w.Body)
		}
		if (w.Code == http.StatusOK) != (answer.Token != "" && answer.Token == answer.ID && answer.Error == "") {
			t.Errorf("%d %s", w.Code, w.Body)
		}
		w = httptest.NewRecorder()
		if s.AppService(w, r); w.Code != http.StatusUnauthorized {
			t.Errorf("App Service without its header: %d", w.Code)
		}
	})
}
