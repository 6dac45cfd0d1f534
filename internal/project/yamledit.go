package project

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"github.com/airlock-secrets/airlock/internal/fault"
	"github.com/airlock-secrets/airlock/internal/yamlnode"
)

// yamlFile is a YAML document whose nodes can be edited where they stand. Edits are collected, and made by done.
type yamlFile struct {
	name  string
	data  []byte
	root  *yaml.Node // a mapping
	lines []int      // where each line begins
	depth map[*yaml.Node]int
	eol   string
	edits []edit
}

// openYAML reads a file with one document, a mapping. Keys that stand twice, of which YAML readers take the last one in
// silence, are errors of kind Usage wherever they stand.
func openYAML(name string, data []byte) (*yamlFile, error) {
	y := &yamlFile{name: name, data: data, eol: lineEnd(data)}
	y.lines = lineStarts(data)
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	var doc, second yaml.Node
	if err := decoder.Decode(&doc); err != nil || len(doc.Content) == 0 {
		if errors.Is(err, io.EOF) || err == nil {
			return nil, fault.New(fault.Usage, name+" is empty")
		}
		return nil, fault.New(fault.Usage, fmt.Sprintf("%s:%d: not valid YAML", name, max(1, yamlnode.ErrorLine(err))))
	}
	if decoder.Decode(&second) == nil {
		return nil, y.fail(&second, "a second document begins; values are one document")
	}
	y.root = doc.Content[0]
	if y.root.Kind != yaml.MappingNode {
		return nil, y.fail(y.root, "not a mapping")
	}
	y.depth = map[*yaml.Node]int{}
	return y, y.check(y.root, 0)
}

func (y *yamlFile) fail(n *yaml.Node, format string, args ...any) *fault.Error {
	return fault.New(fault.Usage, fmt.Sprintf("%s:%d: ", y.name, n.Line)+fmt.Sprintf(format, args...))
}

// check notes how deep a node lies, and finds keys that stand twice.
func (y *yamlFile) check(n *yaml.Node, depth int) error {
	y.depth[n] = depth
	if n.Kind == yaml.MappingNode {
		seen := map[string]int{}
		for i := 0; i+1 < len(n.Content); i += 2 {
			key := n.Content[i]
			if first, twice := seen[key.Value]; twice && key.Kind == yaml.ScalarNode {
				err := y.fail(key, "the key %s stands in line %d already, and Helm would forget that one", key.Value, first)
				err.Hints = []string{"bring the two together under one key"}
				return err
			}
			seen[key.Value] = key.Line
		}
	}
	for _, c := range n.Content {
		if err := y.check(c, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// lineStarts splits as the YAML parser does.
func lineStarts(data []byte) []int {
	starts := []int{0}
	for i := 0; i < len(data); {
		r, n := utf8.DecodeRune(data[i:])
		i += n
		switch r {
		case '\r':
			if i < len(data) && data[i] == '\n' {
				i++
			}
			starts = append(starts, i)
		case '\n', '\u0085', '\u2028', '\u2029':
			starts = append(starts, i)
		}
	}
	return starts
}

// start is the offset of a node, whose column counts characters.
func (y *yamlFile) start(n *yaml.Node) int {
	at := y.lines[min(n.Line, len(y.lines))-1]
	if n.Line == 1 && bytes.HasPrefix(y.data, []byte("\ufeff")) {
		at += len("\ufeff")
	}
	for range n.Column - 1 {
		_, size := utf8.DecodeRune(y.data[at:])
		at += size
	}
	return at
}

// end is the offset behind a node.
func (y *yamlFile) end(n *yaml.Node) int {
	at := y.start(n)
	switch {
	case n.Kind == yaml.AliasNode:
		return at + 1 + len(n.Value)
	case n.Kind == yaml.ScalarNode:
		return y.scalarEnd(n)
	case n.Style&yaml.FlowStyle != 0:
		if len(n.Content) > 0 {
			at = y.end(n.Content[len(n.Content)-1])
		} else {
			at++
		}
		return y.closing(at)
	case len(n.Content) == 0:
		return at
	}
	last := n.Content[len(n.Content)-1]
	if n.Kind == yaml.MappingNode && isNull(last) && last.Value == "" {
		return y.colon(n.Content[len(n.Content)-2]) // a value that is not written stands nowhere in particular
	}
	return y.end(last)
}

// colon is the offset behind the colon that follows a key.
func (y *yamlFile) colon(key *yaml.Node) int {
	at := y.end(key)
	return at + bytes.IndexByte(y.data[at:], ':') + 1
}

// closing is the offset behind the bracket that ends a flow collection, from behind what it holds last.
func (y *yamlFile) closing(at int) int {
	for at < len(y.data) {
		switch y.data[at] {
		case ']', '}':
			return at + 1
		case '#':
			for at < len(y.data) && y.data[at] != '\n' {
				at++
			}
		}
		at++
	}
	return at
}

func (y *yamlFile) scalarEnd(n *yaml.Node) int {
	at := y.start(n)
	switch {
	case n.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0:
		return y.blockEnd(n)
	case n.Style&yaml.DoubleQuotedStyle != 0:
		for at++; at < len(y.data) && y.data[at] != '"'; at++ {
			if y.data[at] == '\\' {
				at++
			}
		}
		return min(at+1, len(y.data))
	case n.Style&yaml.SingleQuotedStyle != 0:
		for at++; at < len(y.data); at++ {
			if y.data[at] == '\'' {
				if at+1 < len(y.data) && y.data[at+1] == '\'' {
					at++
					continue
				}
				break
			}
		}
		return min(at+1, len(y.data))
	case n.Value == "":
		return at
	}
	// Plain: it holds its text literally, but for line breaks, which are blanks or breaks in the value.
	for _, r := range n.Value {
		if r == ' ' || r == '\n' {
			for at < len(y.data) && strings.ContainsRune(" \t\r\n", rune(y.data[at])) {
				at++
			}
			continue
		}
		if got, size := utf8.DecodeRune(y.data[at:]); got == r {
			at += size
		}
	}
	return at
}

// blockEnd is the end of the last line of a block scalar that has text.
func (y *yamlFile) blockEnd(n *yaml.Node) int {
	head := y.start(n)
	end, indent := y.lineEndAt(head), -1
	for at := y.nextLine(end); at < len(y.data); {
		lineEnd := y.lineEndAt(at)
		line := y.data[at:lineEnd]
		text := bytes.TrimLeft(line, " ")
		if len(bytes.TrimSpace(text)) > 0 {
			if indent < 0 {
				indent = len(line) - len(text)
				if indent == 0 && y.root.Column == 1 {
					return end
				}
			}
			if len(line)-len(text) < indent {
				return end
			}
			end = lineEnd
		}
		next := y.nextLine(lineEnd)
		if next <= at {
			break
		}
		at = next
	}
	return end
}

// lineEndAt is the end of the text of the line that at lies in.
func (y *yamlFile) lineEndAt(at int) int {
	if i := bytes.IndexByte(y.data[at:], '\n'); i >= 0 {
		return at + len(bytes.TrimSuffix(y.data[at:at+i], []byte("\r")))
	}
	return len(y.data)
}

func (y *yamlFile) nextLine(at int) int {
	if i := bytes.IndexByte(y.data[at:], '\n'); i >= 0 {
		return at + i + 1
	}
	return len(y.data)
}

// tree is what is written: a text, a literal such as true, a mapping in order, or a list.
type tree struct {
	text    string
	literal string
	fields  []field
	items   []tree
}

type field struct {
	key   string
	value tree
}

func text(s string) tree           { return tree{text: s} }
func mapping(fields ...field) tree { return tree{fields: fields} }
func pair(key, value string) field { return field{key, text(value)} }
func (t tree) isText() bool        { return t.literal == "" && t.fields == nil && t.items == nil }
func blanks(n int) string          { return strings.Repeat(" ", n) }
func isNull(n *yaml.Node) bool     { return n.Kind == yaml.ScalarNode && n.Tag == "!!null" }
func isFlow(n *yaml.Node) bool     { return n.Style&yaml.FlowStyle != 0 }
func (y *yamlFile) simple(n *yaml.Node) bool {
	return n.Kind != yaml.AliasNode && n.Anchor == "" && n.Style&yaml.TaggedStyle == 0
}

// block writes a value behind "key:", which stands with the given indentation.
func (t tree) block(indent int, eol string) string {
	switch {
	case t.literal != "":
		return " " + t.literal
	case t.isText():
		return " " + scalar(t.text)
	}
	var out strings.Builder
	for _, f := range t.fields {
		out.WriteString(eol + blanks(indent+2) + scalar(f.key) + ":" + f.value.block(indent+2, eol))
	}
	for _, item := range t.items {
		out.WriteString(eol + blanks(indent+2) + item.item(indent+2, eol))
	}
	return out.String()
}

// item writes "- " and a mapping whose fields stand below one another.
func (t tree) item(indent int, eol string) string {
	inner := strings.TrimPrefix(t.block(indent, eol), eol+blanks(indent+2))
	return "- " + strings.TrimPrefix(inner, " ")
}

// flow writes a value as JSON, which is YAML.
func (t tree) flow() string {
	switch {
	case t.literal != "":
		return t.literal
	case t.isText():
		return quoted(t.text)
	}
	var parts []string
	for _, f := range t.fields {
		parts = append(parts, quoted(f.key)+": "+f.value.flow())
	}
	if t.fields != nil {
		return "{" + strings.Join(parts, ", ") + "}"
	}
	for _, item := range t.items {
		parts = append(parts, item.flow())
	}
	return "[" + strings.Join(parts, ", ") + "]"
}

func quoted(s string) string {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(s) // a string always encodes
	return strings.TrimSuffix(out.String(), "\n")
}

var plainScalar = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_./-]*$`)

// scalar writes a text so that YAML reads that text and no other type.
func scalar(s string) string {
	var node yaml.Node
	if plainScalar.MatchString(s) && yaml.Unmarshal([]byte(s), &node) == nil && node.Content[0].Tag == "!!str" {
		switch strings.ToLower(s) {
		case "yes", "no", "on", "off", "y", "n": // booleans in YAML 1.1, which other readers follow
		default:
			return s
		}
	}
	if strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f || r >= 0x80 }) {
		return quoted(s)
	}
	return "'" + strings.ReplaceAll(s, "'", "''") + "'"
}

func (y *yamlFile) add(start, end int, text string) {
	y.edits = append(y.edits, edit{start: start, end: end, text: text})
}

// insertAt adds a text to the end of a collection.
func (y *yamlFile) insertAt(in *yaml.Node, at int, text string) {
	y.edits = append(y.edits, edit{start: at, end: at, text: text, depth: 1 + y.depth[in]})
}

// set gives a key of a block or flow mapping a value. What says so already stays as it is written.
func (y *yamlFile) set(in *yaml.Node, key string, value tree) error {
	keyNode, old := yamlnode.Find(in, key)
	if keyNode == nil {
		return y.insert(in, field{key, value})
	}
	if same(old, value) {
		return nil
	}
	return y.replace(in, keyNode, old, value)
}

// same tells whether a node says what a tree says.
func same(n *yaml.Node, t tree) bool {
	switch {
	case n.Kind == yaml.AliasNode:
		return same(n.Alias, t)
	case t.literal != "":
		return n.Kind == yaml.ScalarNode && n.Value == t.literal && n.Tag != "!!str"
	case t.isText():
		return n.Kind == yaml.ScalarNode && n.Tag == "!!str" && n.Value == t.text
	case t.fields != nil:
		if n.Kind != yaml.MappingNode || len(n.Content) != 2*len(t.fields) {
			return false
		}
		for _, f := range t.fields {
			if v := yamlnode.Value(n, f.key); v == nil || !same(v, f.value) {
				return false
			}
		}
		return true
	}
	return false
}

// replace puts a value in the place of another, comments behind it kept.
func (y *yamlFile) replace(in, keyNode, old *yaml.Node, value tree) error {
	if !y.simple(old) {
		return y.fail(old, "%s has an anchor, an alias or a tag, which airlock does not edit", keyNode.Value)
	}
	start, end := y.colon(keyNode), y.end(old)
	if isNull(old) && old.Value == "" {
		end = start
	}
	if isFlow(in) {
		y.add(start, end, " "+value.flow())
		return nil
	}
	written := value.block(in.Column-1, y.eol)
	if _, rest, many := strings.Cut(written, y.eol); many && !multiline(y.data[start:end]) {
		// The comment behind the old value stays behind the key.
		lineEnd := y.lineEndAt(end)
		text := string(bytes.TrimRight(y.data[end:lineEnd], " \t")) + y.eol + rest
		// Where nothing stood behind the colon, this is the line's end, where what follows in, goes, too.
		y.edits = append(y.edits, edit{start: start, end: lineEnd, text: text, depth: 2 + y.depth[old]})
		return nil
	}
	y.edits = append(y.edits, edit{start: start, end: end, text: written, depth: 2 + y.depth[old]})
	return nil
}

func multiline(b []byte) bool { return bytes.IndexByte(b, '\n') >= 0 }

// insert adds a key to a mapping, behind its last one.
func (y *yamlFile) insert(in *yaml.Node, f field) error {
	if isFlow(in) {
		if len(in.Content) == 0 {
			return y.fail(in, "an empty mapping is replaced, not added to") // callers replace it
		}
		at := y.end(in.Content[len(in.Content)-1])
		y.insertAt(in, at, ", "+quoted(f.key)+": "+f.value.flow())
		return nil
	}
	at := y.lineEndAt(y.end(in))
	y.insertAt(in, at, y.eol+blanks(in.Column-1)+scalar(f.key)+":"+f.value.block(in.Column-1, y.eol))
	return nil
}

// setIn gives keys of the mapping below key their values, and makes the mapping where there is none.
func (y *yamlFile) setIn(in *yaml.Node, key string, fields ...field) error {
	keyNode, old := yamlnode.Find(in, key)
	switch {
	case keyNode == nil:
		return y.insert(in, field{key, mapping(fields...)})
	case isNull(old) || old.Kind == yaml.MappingNode && len(old.Content) == 0:
		return y.replace(in, keyNode, old, mapping(fields...))
	case old.Kind != yaml.MappingNode || !y.simple(old):
		return y.fail(old, "%s is not a plain mapping", key)
	}
	for _, f := range fields {
		if f.value.fields != nil {
			if err := y.setIn(old, f.key, f.value.fields...); err != nil {
				return err
			}
			continue
		}
		if err := y.set(old, f.key, f.value); err != nil {
			return err
		}
	}
	return nil
}

// appendItems adds items to the list below key.
func (y *yamlFile) appendItems(in *yaml.Node, key string, items ...tree) error {
	if len(items) == 0 {
		return nil
	}
	keyNode, old := yamlnode.Find(in, key)
	switch {
	case keyNode == nil:
		return y.insert(in, field{key, tree{items: items}})
	case isNull(old) || old.Kind == yaml.SequenceNode && len(old.Content) == 0:
		return y.replace(in, keyNode, old, tree{items: items})
	case old.Kind != yaml.SequenceNode || !y.simple(old):
		return y.fail(old, "%s is not a plain list", key)
	}
	if isFlow(old) {
		at := y.end(old.Content[len(old.Content)-1])
		for _, item := range items {
			y.insertAt(old, at, ", "+item.flow())
		}
		return nil
	}
	at := y.lineEndAt(y.end(old))
	for _, item := range items {
		y.insertAt(old, at, y.eol+blanks(old.Column-1)+item.item(old.Column-1, y.eol))
	}
	return nil
}

// done is the file with the edits made; false when they contradict one another, because a place was misjudged.
func (y *yamlFile) done() ([]byte, bool) {
	if !disjoint(len(y.data), y.edits) {
		return nil, false
	}
	return apply(y.data, y.edits), true
}
