package doctor

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestDocumentedLinks: the page's table names the checks that there are, in their order.
func TestDocumentedLinks(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "doctor.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(page), "\n## The links\n")
	var documented, checks []string
	for _, row := range regexp.MustCompile("(?m)^\\| `([a-z]+)` \\|").FindAllStringSubmatch(table, -1) {
		documented = append(documented, row[1])
	}
	v := &visit{Config: Config{Deployment: "d", Values: "v"}}
	for _, c := range v.checks() {
		checks = append(checks, c.id)
	}
	if !slices.Equal(documented, checks) {
		t.Errorf("docs/doctor.md has the links\n%q, and the chain is\n%q", documented, checks)
	}
}
