package arch

import (
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

var (
	row    = regexp.MustCompile(`(?m)^\| (-|\d+) \| (.*?) \|`)
	inCode = regexp.MustCompile("`([^`]+)`")
)

// TestPage: ARCHITECTURE.md has a line for each package, at the height that the table of this test gives it. A name without
// a folder stands beside the one before it.
func TestPage(t *testing.T) {
	root := filepath.Join("..", "..")
	page, err := os.ReadFile(filepath.Join(root, "ARCHITECTURE.md"))
	if err != nil {
		t.Fatal(err)
	}
	told := map[string]string{}
	for _, found := range row.FindAllStringSubmatch(string(page), -1) {
		dir := ""
		for _, name := range inCode.FindAllStringSubmatch(found[2], -1) {
			pkg := name[1]
			if !strings.Contains(pkg, "/") && dir != "" {
				pkg = dir + "/" + pkg
			}
			dir = path.Dir(pkg)
			told[pkg] = found[1]
			if _, err := os.Stat(filepath.Join(root, filepath.FromSlash(pkg))); err != nil {
				t.Errorf("ARCHITECTURE.md names %s, which is not there", pkg)
			}
		}
	}
	packages := 0
	for _, top := range []string{"cmd", "internal", "localcloud"} {
		err := filepath.WalkDir(filepath.Join(root, top), func(file string, d fs.DirEntry, err error) error {
			if err != nil || !d.IsDir() {
				return err
			}
			if d.Name() == "testdata" {
				return filepath.SkipDir
			}
			if files, err := filepath.Glob(filepath.Join(file, "*.go")); err != nil || len(files) == 0 {
				return err
			}
			packages++
			rel, err := filepath.Rel(root, file)
			if err != nil {
				return err
			}
			pkg, want := filepath.ToSlash(rel), "-"
			if height, ok := layers[pkg]; ok {
				want = strconv.Itoa(height)
			}
			if told[pkg] != want {
				t.Errorf("ARCHITECTURE.md puts %s at height %q, and it is at %q", pkg, told[pkg], want)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if packages < len(layers) {
		t.Errorf("%d packages were found, and %d have a height", packages, len(layers))
	}
}
