package rest_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/airlock-secrets/airlock/localcloud/internal/rest"
)

func TestWrite(t *testing.T) {
	const usual = "application/json; charset=utf-8"
	for _, row := range []struct {
		format          rest.Format
		body            any
		status          int
		kind, wantsBody string
	}{
		{rest.Format{}, map[string]string{"a": "<&>"}, 201, usual, `{"a":"\u003c\u0026\u003e"}`},
		{rest.Format{PlainHTML: true}, map[string]string{"a": "<&>"}, 201, usual, `{"a":"<&>"}`},
		{rest.Format{Newline: true, ContentType: "application/json; charset=UTF-8"}, []int{}, 200, "application/json; charset=UTF-8", "[]\n"},
		{rest.Format{}, make(chan int), 500, "text/plain; charset=utf-8", "the local cloud could not encode its answer\n"},
	} {
		w := httptest.NewRecorder()
		row.format.Write(w, row.status, row.body)
		if w.Code != row.status || w.Header().Get("Content-Type") != row.kind || w.Body.String() != row.wantsBody {
			t.Errorf("%+v: %d %q %q", row.format, w.Code, w.Header().Get("Content-Type"), w.Body)
		}
	}
}

func TestTable(t *testing.T) {
	var table rest.Table[string]
	table.Add("GET /a/{id}", "get an a", "get")
	table.Add("PUT /a/{id}", "set an a", "put")
	want := []rest.Endpoint{
		{Method: "GET", Path: "/a/{id}", About: "get an a"}, {Method: "PUT", Path: "/a/{id}", About: "set an a"},
	}
	if d := cmp.Diff(want, table.Endpoints()); d != "" {
		t.Error(d)
	}
	mux := table.Mux("nothing", func(w http.ResponseWriter, r *http.Request, run string) {
		_, _ = w.Write([]byte(run + " " + r.PathValue("id")))
	})
	for _, row := range []struct{ method, path, want string }{
		{"GET", "/a/1", "get 1"}, {"PUT", "/a/2", "put 2"}, {"DELETE", "/a/1", "nothing "}, {"GET", "/b", "nothing "},
	} {
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, httptest.NewRequest(row.method, row.path, nil))
		if got := w.Body.String(); got != row.want {
			t.Errorf("%s %s: %q, want %q", row.method, row.path, got, row.want)
		}
	}
}
