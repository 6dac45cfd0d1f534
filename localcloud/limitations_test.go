package localcloud_test

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"text/template"

	"github.com/google/go-cmp/cmp"

	"github.com/airlock-secrets/airlock/localcloud/astro"
	"github.com/airlock-secrets/airlock/localcloud/entra"
	"github.com/airlock-secrets/airlock/localcloud/github"
	"github.com/airlock-secrets/airlock/localcloud/keyvault"
)

var update = flag.Bool("update", false, "write docs/limitations.md")

func TestLimitationsPage(t *testing.T) {
	page, err := template.ParseFiles(filepath.Join("testdata", "limitations.md.tmpl"))
	if err != nil {
		t.Fatal(err)
	}
	var want bytes.Buffer
	err = page.Execute(&want, map[string]any{
		"Operations": keyvault.Operations(), "Absent": keyvault.Absent, "Endpoints": entra.Endpoints(),
		"Astro": astro.Endpoints(), "GitHub": github.Endpoints(),
	})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join("..", "docs", "limitations.md")
	if *update {
		if err := os.WriteFile(path, want.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want.String(), string(got)); diff != "" {
		t.Errorf("%s is not what the code says; write it with: go test ./localcloud -run TestLimitationsPage -update\n%s", path, diff)
	}
}

// What the page says is absent is refused in the way that it says.
func TestAbsent(t *testing.T) {
	c := start(t)
	if len(keyvault.Absent) == 0 {
		t.Fatal("nothing is absent")
	}
	for part := range keyvault.Absent {
		response, body := wire(t, c, "GET", vaultURL+part+"/a?api-version=7.4", "")
		if response.StatusCode != 501 || !strings.Contains(body, `"code":"NotImplementedByLocalCloud"`) {
			t.Errorf("%s: %d %s", part, response.StatusCode, body)
		}
	}
}
