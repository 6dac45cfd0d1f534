package yamlnode_test

import (
	"errors"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/airlock-secrets/airlock/internal/yamlnode"
)

func TestErrorLine(t *testing.T) {
	for _, row := range []struct {
		text string
		line int
	}{
		// Now and then the library means the line before.
		{"a: 1\nb: [\n", 2}, {"a: 1\nb: 2\nc: 3\n\td: 4\n", 3}, {"a: 1\n\tb: 2\n", 2}, {"a: &x 1\nb: *y\n", 0}, {"a: *line-7:", 0},
	} {
		var n yaml.Node
		err := yaml.Unmarshal([]byte(row.text), &n)
		if err == nil {
			t.Fatalf("%q is YAML", row.text)
		}
		if got := yamlnode.ErrorLine(err); got != row.line {
			t.Errorf("%q: line %d of %v", row.text, got, err)
		}
	}
	if got := yamlnode.ErrorLine(errors.New("on line 3:")); got != 0 {
		t.Errorf("line %d of somebody else's error", got)
	}
}

func TestFind(t *testing.T) {
	var doc yaml.Node
	if err := yaml.Unmarshal([]byte("a: 1\nlist: [b, c]\na2:\n  b: 2\n"), &doc); err != nil {
		t.Fatal(err)
	}
	root := doc.Content[0]
	if key, value := yamlnode.Find(root, "a2"); key == nil || key.Line != 3 || yamlnode.Value(value, "b").Value != "2" {
		t.Errorf("%v %v", key, value)
	}
	for _, row := range []struct {
		n   *yaml.Node
		key string
	}{{root, "b"}, {yamlnode.Value(root, "list"), "b"}, {yamlnode.Value(root, "a"), "1"}, {nil, "a"}} {
		if key, value := yamlnode.Find(row.n, row.key); key != nil || value != nil {
			t.Errorf("%s: %v %v", row.key, key, value)
		}
	}
}
