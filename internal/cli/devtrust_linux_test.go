package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/smallstep/truststore"

	"github.com/airlock-secrets/airlock/localcloud"
)

// TestTrust trusts and distrusts in a store of the test's own.
func TestTrust(t *testing.T) {
	store, dir := t.TempDir(), t.TempDir()
	t.Setenv("PATH", "/usr/bin:/bin")
	oldName, oldCommand := truststore.SystemTrustFilename, truststore.SystemTrustCommand
	truststore.SystemTrustFilename, truststore.SystemTrustCommand = filepath.Join(store, "%s.crt"), []string{"true"}
	defer func() { truststore.SystemTrustFilename, truststore.SystemTrustCommand = oldName, oldCommand }()

	run := func(args ...string) (int, string) {
		var out bytes.Buffer
		code := Main(Env{Context: t.Context(), Args: append([]string{"airlock"}, args...), Dir: dir, Stdout: &out, Stderr: &out})
		return code, out.String()
	}
	stored := func() int {
		files, _ := filepath.Glob(filepath.Join(store, "*"))
		return len(files)
	}
	if code, out := run("dev", "trust", "--system"); code != 2 || !strings.Contains(out, "run airlock dev once") {
		t.Errorf("before any dev: %d, %s", code, out)
	}
	if code, _ := run("dev", "trust", "--system", "--uninstall"); code != 3 {
		t.Errorf("nothing to take out: %d", code)
	}
	cloud := localcloud.Start(t, localcloud.Config{Dir: filepath.Join(dir, devDir)})
	if code, out := run("dev", "trust", "--system"); code != 0 || stored() != 1 {
		t.Fatalf("%d, %d stored: %s", code, stored(), out)
	}
	if code, _ := run("dev", "trust", "--system"); code != 0 || stored() != 1 {
		t.Errorf("again: %d, %d stored", code, stored())
	}
	if code, out := run("dev", "trust", "--system", "--uninstall"); code != 0 || stored() != 0 {
		t.Errorf("%d, %d stored: %s", code, stored(), out)
	}
	if _, err := os.Stat(filepath.Join(dir, devDir, "trusted.pem")); err == nil {
		t.Error("a note stays behind")
	}
	_ = cloud
}
