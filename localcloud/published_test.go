package localcloud_test

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/airlock-secrets/airlock/localcloud"
)

// TestPublishedTests runs the tests that Microsoft publishes with azsecrets in their live mode, in which they talk to a
// vault and not to recordings. Nothing of them is changed. All can be run: none needs what the local cloud leaves out.
func TestPublishedTests(t *testing.T) {
	if testing.Short() {
		t.Skip("compiling the tests of azsecrets takes a while; run without -short")
	}
	const module = "github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azsecrets"
	source, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", module).Output()
	if err != nil {
		t.Fatalf("where is %s? %v", module, err)
	}
	dir := filepath.Join(t.TempDir(), "azsecrets") // the module's own folder is read-only, and go.sum may need a line more
	if err := os.CopyFS(dir, os.DirFS(strings.TrimSpace(string(source)))); err != nil {
		t.Fatal(err)
	}
	writable := func(path string, entry os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		mode := os.FileMode(0o600)
		if entry.IsDir() {
			mode = 0o700
		}
		return os.Chmod(path, mode)
	}
	if err := filepath.WalkDir(dir, writable); err != nil {
		t.Fatal(err)
	}
	download := exec.CommandContext(t.Context(), "go", "mod", "download")
	download.Dir = dir
	if out, err := download.CombinedOutput(); err != nil {
		t.Skipf("the libraries of the published tests cannot be had here: %v: %s", err, out)
	}
	compile := exec.CommandContext(t.Context(), "go", "test", "-trimpath", "-c", "-o", "published.test", ".")
	compile.Dir = dir
	if out, err := compile.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}

	c := localcloud.Start(t, localcloud.Config{Hermetic: true, Provision: provision()})
	env := c.Env()
	maps.Copy(env, map[string]string{
		"AZURE_RECORD_MODE": "live", "AZURE_KEYVAULT_URL": vaultURL,
		"AZURE_TENANT_ID": tenant, "AZURE_CLIENT_ID": appID, "AZURE_CLIENT_SECRET": appSecret,
	})
	published := exec.CommandContext(t.Context(), "./published.test", "-test.v")
	published.Dir = dir
	published.Env = os.Environ()
	for name, value := range env {
		published.Env = append(published.Env, name+"="+value)
	}
	out, err := published.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	passed := regexp.MustCompile(`(?m)^--- PASS: (Test\w+)`).FindAllSubmatch(out, -1)
	if len(passed) < 10 || strings.Contains(string(out), "--- SKIP") {
		t.Errorf("%d passed, or some were left out:\n%s", len(passed), out)
	}
	asked := 0
	for _, r := range c.Requests() {
		if r.Service == "keyvault" {
			asked++
		}
	}
	if asked < 30 {
		t.Errorf("the vault was asked only %d times: the tests did not run live", asked)
	}
	t.Logf("%d published tests, %d requests to the vault", len(passed), asked)
}
