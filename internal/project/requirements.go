package project

import (
	"bytes"
	"path"
	"regexp"
	"strings"
)

// Packages that bring a backend, as requirements.txt names them.
const (
	AirlockPackage = "airlock-airflow"
	AzurePackage   = "apache-airflow-providers-microsoft-azure"
)

// AddRequirement makes requirements.txt ask for a package. A file that asks for it already, in whatever spelling, version,
// with extras, markers or as a path to a wheel, stays as it is; otherwise a line is added at the end.
func AddRequirement(data []byte, name string) []byte {
	for _, line := range logicalLines(data) {
		if normalised(requirementName(line)) == normalised(name) {
			return data
		}
	}
	// A backslash at the end would join the new line to the last one.
	if last := strings.TrimSuffix(strings.TrimSuffix(string(data), "\n"), "\r"); strings.HasSuffix(last, `\`) {
		data = appendLine(data, "")
	}
	return appendLine(data, name)
}

// logicalLines joins lines that end in a backslash and takes comments away, as pip does.
// https://pip.pypa.io/en/stable/reference/requirements-file-format/
func logicalLines(data []byte) []string {
	var lines []string
	joined := ""
	for line := range strings.SplitSeq(strings.TrimPrefix(string(data), "\ufeff"), "\n") {
		line = strings.TrimSuffix(line, "\r")
		if rest, more := strings.CutSuffix(line, `\`); more && !strings.HasPrefix(strings.TrimSpace(line), "#") {
			joined += rest
			continue
		}
		lines = append(lines, commentAfter.ReplaceAllString(joined+line, ""))
		joined = ""
	}
	return append(lines, commentAfter.ReplaceAllString(joined, ""))
}

var (
	commentAfter = regexp.MustCompile(`(^|\s)#.*$`)
	// A distribution's name: https://packaging.python.org/specifications/name-normalization/
	leadingName = regexp.MustCompile(`(?i)^([a-z0-9](?:[a-z0-9._-]*[a-z0-9])?)\s*(?:$|[\[(<>=!~;@,\s])`)
	eggName     = regexp.MustCompile(`(?i)[#&]egg=([a-z0-9](?:[a-z0-9._-]*[a-z0-9])?)`)
	separators  = regexp.MustCompile(`[-_.]+`)
)

// requirementName is the distribution that a line asks for; "" when it asks for none, or one cannot tell.
func requirementName(line string) string {
	line = strings.TrimSpace(line)
	for _, option := range []string{"-e ", "--editable ", "--editable="} {
		line = strings.TrimSpace(strings.TrimPrefix(line, option))
	}
	if egg := eggName.FindStringSubmatch(line); egg != nil {
		return egg[1]
	}
	if first, _, _ := strings.Cut(line, " "); strings.HasSuffix(first, ".whl") {
		// NAME-VERSION-PYTHON-ABI-PLATFORM.whl, where NAME has no dash.
		name, _, _ := strings.Cut(path.Base(strings.ReplaceAll(first, `\`, "/")), "-")
		return name
	}
	if name := leadingName.FindStringSubmatch(line); name != nil {
		return name[1]
	}
	return ""
}

// normalised is a distribution's name as PEP 503 compares it.
func normalised(name string) string { return strings.ToLower(separators.ReplaceAllString(name, "-")) }

// appendLine adds a line at the end, with the line end that the file has.
func appendLine(data []byte, line string) []byte {
	eol := lineEnd(data)
	out := bytes.Clone(data)
	if len(out) > 0 && !bytes.HasSuffix(out, []byte("\n")) {
		out = append(out, eol...)
	}
	return append(append(out, line...), eol...)
}

// lineEnd is how the file ends its lines: as the first one does.
func lineEnd(data []byte) string {
	if i := bytes.IndexByte(data, '\n'); i > 0 && data[i-1] == '\r' {
		return "\r\n"
	}
	return "\n"
}
