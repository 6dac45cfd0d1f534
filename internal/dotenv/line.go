package dotenv

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/airlock-secrets/airlock/internal/fault"
)

// maxLine is what bufio.Scanner reads as one line unless told otherwise; the Astro CLI reads its lines with it.
const maxLine = 64*1024 - 2

// Quote writes any value so that Parse reads it again, and Docker Compose with it: as it is where that does, and in quotes
// otherwise. For a file that other readers have to take alike, there is [Line].
func Quote(value string) string {
	plain := value == strings.TrimSpace(value) && !strings.ContainsAny(value, "\n\r$") && !strings.Contains(value, " #") &&
		!strings.Contains(value, "\t#") && (value == "" || !strings.ContainsRune(`'"#`, rune(value[0])))
	switch {
	case plain:
		return value
	case !strings.Contains(value, "'") && !strings.Contains(value, "\r"):
		return "'" + value + "'"
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "\r", `\r`, "$", `\$`).Replace(value) + `"`
}

// Line writes KEY=VALUE so that all readers of a project's .env take the same value out of it: the Astro CLI's variable
// loader, Docker Compose's env_file, docker's --env-file, and the dotenv packages. They agree on unquoted values only, and
// only without the characters that one of them takes for a comment, a quote or a variable. A value that no line can
// express is an error of kind Usage that says what stands in the way, and not the value.
//
// The rules are those of astro-cli 1.45 (pkg/fileutil), docker/cli (pkg/kvfile), compose-go v2 (dotenv), python-dotenv 1.2
// and gotenv 1.6; TestFourReaders asks those that can be asked.
func Line(key, value string) (string, error) {
	if !validKey(key) || strings.ContainsAny(key, ".-") {
		return "", fault.New(fault.Usage, fmt.Sprintf("%q is not the name of an environment variable", key))
	}
	if why := inexpressible(value); why != "" {
		return "", fault.New(fault.Usage, fmt.Sprintf(
			"the value of %s %s, and the readers of .env files disagree on what that means", key, why),
			"rotate the secret until it has letters, digits, '-', '_', '.' and '~' only, use a managed identity, or set the variable elsewhere than in .env")
	}
	line := key + "=" + value
	if len(line) > maxLine {
		return "", fault.New(fault.Usage, fmt.Sprintf("the line of %s is longer than the 64 KiB that the Astro CLI reads", key))
	}
	return line, nil
}

// inexpressible says what in a value would be read in several ways; "" is nothing.
func inexpressible(value string) string {
	switch {
	case value == "":
		return "is empty"
	case !utf8.ValidString(value):
		return "is not UTF-8"
	case strings.ContainsFunc(value, unicode.IsControl):
		return "holds a line break or another control character"
	case strings.TrimFunc(value, unicode.IsSpace) != value:
		return "begins or ends with a blank"
	case strings.Trim(value, `'"`) != value:
		return "begins or ends with a quote"
	case strings.Contains(value, "$"):
		return "holds $"
	case strings.Contains(value, "#"):
		return "holds #"
	}
	return ""
}
