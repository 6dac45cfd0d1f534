// Package yamlnode finds its way in YAML that is read as nodes: which line an error is about, and where a key stands. Files
// with secrets are read so, because the YAML library's own errors quote what they could not read.
package yamlnode

import (
	"regexp"
	"strconv"

	"go.yaml.in/yaml/v3"
)

// The library says where in the text of its errors, and nowhere else.
var lineInError = regexp.MustCompile(`^yaml: line (\d+):`)

// ErrorLine takes the line out of an error of the YAML library, whose text could show content; 0 where it names none.
func ErrorLine(err error) int {
	m := lineInError.FindStringSubmatch(err.Error())
	if m == nil {
		return 0
	}
	line, _ := strconv.Atoi(m[1]) // too large for a line is as good as none
	return line
}

// Find finds a key of a mapping and its value; both are nil where it is not there, or where n is nil or no mapping. Of a
// key that stands twice it is the first.
func Find(n *yaml.Node, key string) (keyNode, value *yaml.Node) {
	if n != nil && n.Kind == yaml.MappingNode {
		for i := 0; i+1 < len(n.Content); i += 2 {
			if n.Content[i].Value == key {
				return n.Content[i], n.Content[i+1]
			}
		}
	}
	return nil, nil
}

// Value is Find without the key.
func Value(n *yaml.Node, key string) *yaml.Node {
	_, value := Find(n, key)
	return value
}
