package cli

import (
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

var (
	// A link of Markdown, and a heading. Fenced code is taken out before.
	link    = regexp.MustCompile(`\]\(([^()\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#{1,6} +(.*?) *$`)
	fence   = regexp.MustCompile("(?ms)^ *```.*?^ *```[^\n]*$")
	// What GitHub leaves out of a heading to make an anchor of it; blanks become hyphens.
	notInAnchor = regexp.MustCompile(`[^\p{L}\p{N}\p{M}_ -]`)
)

// TestLinks: each relative link of the repository's pages leads to a file that is there, and to a heading in it.
func TestLinks(t *testing.T) {
	root := filepath.Join("..", "..")
	pages, links := 0, 0
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "build" || d.Name() == "node_modules" || len(d.Name()) > 2 && d.Name()[0] == '.'):
			return filepath.SkipDir
		case d.IsDir() || filepath.Ext(path) != ".md":
			return nil
		}
		pages++
		for _, found := range link.FindAllStringSubmatch(readPage(t, path), -1) {
			target, err := url.Parse(found[1])
			if err != nil {
				t.Errorf("%s: %s is no link", path, found[1])
				continue
			}
			if target.Scheme != "" {
				continue
			}
			links++
			to := path
			if target.Path != "" {
				to = filepath.Join(filepath.Dir(path), filepath.FromSlash(target.Path))
			}
			if _, err := os.Stat(to); err != nil {
				t.Errorf("%s: %s leads nowhere", path, found[1])
			} else if target.Fragment != "" && !anchors(readPage(t, to))[target.Fragment] {
				t.Errorf("%s: %s is no heading there", path, found[1])
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if pages == 0 || links == 0 {
		t.Fatalf("%d pages with %d links: the test looks in the wrong place", pages, links)
	}
}

func readPage(t *testing.T, path string) string {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return fence.ReplaceAllString(string(raw), "")
}

// anchors are the anchors that GitHub gives to a page's headings; the second of the same text ends with -1.
func anchors(page string) map[string]bool {
	all := map[string]bool{}
	seen := map[string]int{}
	for _, found := range heading.FindAllStringSubmatch(page, -1) {
		text := link.ReplaceAllString(strings.ToLower(found[1]), "")
		anchor := strings.ReplaceAll(notInAnchor.ReplaceAllString(text, ""), " ", "-")
		n := seen[anchor]
		seen[anchor]++
		if n > 0 {
			anchor += "-" + strconv.Itoa(n)
		}
		all[anchor] = true
	}
	return all
}

// TestAnchors: what TestLinks takes for an anchor.
func TestAnchors(t *testing.T) {
	page := fence.ReplaceAllString("# One: `two`, & three\n```sh\n# no heading\n```\n## A_b-c\n## Same\n### Same\n", "")
	got := anchors(page)
	for _, want := range []string{"one-two--three", "a_b-c", "same", "same-1"} {
		if !got[want] {
			t.Errorf("no anchor %s in %v", want, got)
		}
	}
	if len(got) != 4 {
		t.Errorf("%v", got)
	}
}

// TestNamed: pages that list commands or targets list all of them.
func TestNamed(t *testing.T) {
	root := filepath.Join("..", "..")
	makefile, err := os.ReadFile(filepath.Join(root, "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	var targets, commands []string
	for _, found := range regexp.MustCompile(`(?m)^([a-z-]+):.*## `).FindAllStringSubmatch(string(makefile), -1) {
		targets = append(targets, "make "+found[1])
	}
	for _, c := range (&app{getenv: func(string) string { return "" }}).rootCommand().Commands() {
		if c.Runnable() && !c.Hidden {
			commands = append(commands, "airlock "+c.Name())
		}
	}
	for page, names := range map[string][]string{"CONTRIBUTING.md": targets, "README.md": commands} {
		raw, err := os.ReadFile(filepath.Join(root, page))
		if err != nil {
			t.Fatal(err)
		}
		if len(names) == 0 {
			t.Errorf("%s: nothing to look for", page)
		}
		for _, name := range names {
			if !regexp.MustCompile(regexp.QuoteMeta(name) + `\b[^-]`).Match(raw) {
				t.Errorf("%s does not name %s", page, name)
			}
		}
	}
}
