// Package arch holds the house rules that a test can check: which package may import which.
package arch

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/airlock-secrets/airlock"

// layers gives each package below internal/ its height. A package imports only what stands lower: never sideways, never
// up. A new package must be entered here, which is the moment to think about where it belongs.
var layers = map[string]int{
	"internal/fault":    0,
	"internal/secret":   0,
	"internal/yamlnode": 0,
	"internal/airflow":  1,
	"internal/dotenv":   1,
	"internal/rest":     1,
	"internal/agentapi": 2,
	"internal/astro":    3,
	"internal/audit":    2,
	"internal/policy":   3,
	"internal/cache":    3,
	"internal/client":   3,
	"internal/config":   3,
	"internal/github":   3,
	"internal/keyvault": 3,
	"internal/metrics":  3,
	"internal/peer":     3,
	"internal/project":  3,
	"internal/socket":   3,
	"internal/source":   3,
	"internal/systemd":  3,
	"internal/tracing":  3,
	"internal/agent":    4,
	"internal/migrate":  4,
	"internal/doctor":   4,
	"internal/cli":      5,
	"cmd/airlock":       6,
}

// The two sides of the wire share no code, so that they cannot share a mistake; only the command joins them.
const emulator = "localcloud"

// Only internal/keyvault speaks to Azure; localcloud speaks for it, in its own words.
const azureSDK = "github.com/Azure/"

func TestLayers(t *testing.T) {
	root := filepath.Join("..", "..")
	found := 0
	seen := map[string]bool{}
	// The files are opened here and not by a child process: go test caches a result unless a file that the test itself
	// read has changed.
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		if d.IsDir() {
			switch d.Name() {
			case "testdata", "build", "node_modules", ".git":
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(path, ".go") {
			return nil
		}
		found++
		pkg := filepath.ToSlash(filepath.Dir(rel))
		seen[pkg] = true
		src, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, src, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, spec := range file.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			if reason := forbidden(pkg, imported, strings.HasSuffix(path, "_test.go")); reason != "" {
				t.Errorf("%s imports %s: %s", rel, imported, reason)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if found == 0 {
		t.Fatal("no Go file was found: the test looks in the wrong place")
	}
	for pkg := range seen {
		if _, ok := layers[pkg]; !ok && strings.HasPrefix(pkg, "internal/") && pkg != "internal/arch" {
			t.Errorf("package %s has no layer: enter it in the table of this test", pkg)
		}
	}
}

// forbidden says why pkg may not import the path; "" when it may. A test may reach sideways and for the local cloud,
// because nothing of it ships, but not up.
func forbidden(pkg, imported string, isTest bool) string {
	if strings.HasPrefix(imported, azureSDK) && pkg != "internal/keyvault" && !strings.HasPrefix(pkg, "examples/") && !strings.HasPrefix(pkg, "bench") {
		if !(isTest && strings.HasPrefix(pkg, emulator)) {
			return "only internal/keyvault speaks to Azure"
		}
	}
	imported, ours := strings.CutPrefix(imported, module+"/")
	if !ours {
		return ""
	}
	fromEmulator, toEmulator := inside(pkg, emulator), inside(imported, emulator)
	switch {
	case fromEmulator && !toEmulator:
		return "the local cloud imports nothing else of Airlock"
	case toEmulator && strings.HasPrefix(pkg, "internal/") && pkg != "internal/cli" && !isTest:
		return "only the command joins Airlock and the local cloud"
	}
	height, known := layers[imported]
	if !known {
		return ""
	}
	if own, ok := layers[pkg]; ok && (height > own || height == own && pkg != imported && !isTest) {
		return "a package imports only what stands lower"
	}
	return ""
}

func inside(pkg, dir string) bool { return pkg == dir || strings.HasPrefix(pkg, dir+"/") }

func TestForbidden(t *testing.T) {
	for _, row := range []struct {
		pkg, imported string
		isTest        bool
		allowed       bool
	}{
		{"internal/agent", module + "/internal/cache", false, true},
		{"internal/cache", module + "/internal/agent", false, false},
		{"internal/cache", module + "/internal/agent", true, false},
		{"internal/cache", module + "/internal/config", false, false},
		{"internal/keyvault", module + "/localcloud", false, false},
		{"internal/keyvault", module + "/localcloud", true, true},
		{"localcloud", module + "/internal/fault", false, false},
		{"localcloud", module + "/localcloud/entra", false, true},
		{"internal/cli", module + "/localcloud", false, true},
		{"internal/agent", "github.com/Azure/azure-sdk-for-go/sdk/azcore", false, false},
		{"internal/keyvault", "github.com/Azure/azure-sdk-for-go/sdk/azcore", false, true},
		{"internal/secret", "fmt", false, true},
	} {
		if got := forbidden(row.pkg, row.imported, row.isTest) == ""; got != row.allowed {
			t.Errorf("forbidden(%s, %s, test=%v): allowed = %v, want %v", row.pkg, row.imported, row.isTest, got, row.allowed)
		}
	}
}
