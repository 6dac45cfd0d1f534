package project

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// Pieces of values.yaml: lines that the edit is not about, and ways to write the keys that it is about.
var (
	foreign = [][]string{
		{"resourceNamePrefix: \"a: b\" # c"}, {"# comment"}, {""}, {" # indented comment"}, {"namespace: x"},
		{"workers:", "- name: w", "  # inside", "  env:", "    - {name: A, value: 'it''s'}", "  queues: [a,", "    b]"},
		{"dagProcessor:", "    env: []   # none", "", "    image: \"x\\\"y\" "}, {"triggerer: {replicas: 1, \"env\": []}"},
		{"text: |", "  commonEnv: no", "", "  # not a comment", "   more"}, {"folded: >-", "    secretBackend: x", "    y"},
		{"plain: a", "  b", "  c # d"}, {"anchor: &a {b: 1}", "alias: *a"}, {"dagBundleConfigList: '[{\"name\": \"ä\"}]'"}, {"last:"},
	}
	ours = map[string][][]string{
		"secretBackend": {{"secretBackend: old # o"}, {"secretBackend:"}, {"secretBackend: \"\""}, {"\"secretBackend\": 'a''b'"}, {"secretBackend: >", "  a", "  b"}, {"secretBackend: a", "  b"}},
		"commonEnv": {{"commonEnv: []"}, {"commonEnv:"}, {"commonEnv:", "- name: A", "  value: b # c"}, {"commonEnv:", "    -   name: A", "        value: |-", "          b", ""},
			{"commonEnv: [{name: A, value: b}]"}, {"commonEnv:", "  - name: AIRFLOW__SECRETS__BACKEND_KWARGS", "    value: >-", "      {\"a\":", "      1}"},
			{"commonEnv:", "- valueFrom: {secretKeyRef: {name: n, key: k}}", "  name: AIRFLOW__SECRETS__BACKEND_KWARGS", "- name: Z", "  value: \"z", "    z\""}},
		"labels":      {{"labels: {}"}, {"labels:"}, {"labels:", "  a: b # c"}, {"labels: {a: b}"}, {"labels:", "    azure.workload.identity/use: true"}},
		"annotations": {{"annotations: {} # none"}, {"annotations:", "  # why", "  a: b"}, {"annotations: { }"}},
		"serviceAccount": {{"serviceAccount:", "  annotations: {}", "  workers:", "    create: true", "    # ours", "    name: x"}, {"serviceAccount:", "  workers: {create: true}"},
			{"serviceAccount: {}"}, {"serviceAccount:", "  triggerer:", "  workers: {}", "  dagProcessor:", "    name: ~"}},
	}
)

func TestValuesProperties(t *testing.T) {
	values := []Values{byIdentity(t), bySecret(t)}
	rapid.Check(t, func(t *rapid.T) {
		var pieces [][]string
		var keep []string
		taken := map[string]bool{}
		for _, p := range rapid.SliceOfN(rapid.SampledFrom(foreign), 1, 8).Draw(t, "foreign") {
			key, _, _ := strings.Cut(p[0], ":")
			if comment := strings.HasPrefix(strings.TrimSpace(p[0]), "#") || p[0] == ""; comment || !taken[key] {
				taken[key] = !comment
				pieces = append(pieces, p)
			}
		}
		keys := []string{"secretBackend", "commonEnv", "labels", "annotations", "serviceAccount"}
		for _, key := range keys {
			if rapid.Bool().Draw(t, key) {
				pieces = append(pieces, rapid.SampledFrom(ours[key]).Draw(t, key+" as"))
			}
		}
		pieces = rapid.Permutation(pieces).Draw(t, "order")
		var lines []string
		for _, p := range pieces {
			lines = append(lines, p...)
			if key, _, _ := strings.Cut(p[0], ":"); !slices.Contains(keys, strings.Trim(key, `"`)) {
				keep = append(keep, p...)
			}
		}
		eol := rapid.SampledFrom([]string{"\n", "\r\n"}).Draw(t, "eol")
		data := []byte(strings.Join(lines, eol))
		// A block of text that the file's end cuts short would get its line break; that is refused.
		if rapid.Bool().Draw(t, "end") || slices.Contains(lines, "text: |") {
			data = append(data, eol...)
		}
		v := rapid.SampledFrom(values).Draw(t, "values")
		once, _, err := EditValues("values.yaml", data, v)
		if err != nil {
			if strings.Contains(err.Error(), "not valid YAML") || strings.Contains(err.Error(), "is empty") || strings.Contains(err.Error(), "not a mapping") {
				t.Skip("the pieces make no YAML together")
			}
			t.Fatalf("%v:\n%s", err, data)
		}
		twice, _, err := EditValues("values.yaml", once, v)
		if err != nil || !bytes.Equal(once, twice) {
			t.Fatalf("edited twice it differs (%v):\n%s\n---\n%s", err, once, twice)
		}
		// What the edit is not about is there, byte for byte and in its order.
		rest := strings.Split(string(once), lineEnd(data))
		for _, line := range keep {
			at := slices.Index(rest, line)
			if at < 0 {
				t.Fatalf("line %q is gone or changed:\n%s\n---\n%s", line, data, once)
			}
			rest = rest[at+1:]
		}
	})
}
