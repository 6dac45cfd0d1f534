package cli

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

var update = flag.Bool("update", false, "write the generated documentation instead of comparing it")

// TestCommandsPage: docs/commands.md is what the commands say of themselves.
func TestCommandsPage(t *testing.T) {
	path := filepath.Join("..", "..", "docs", "commands.md")
	want := commandsPage()
	if *update {
		if err := os.WriteFile(path, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("docs/commands.md is not what the commands say (%v); write it with: go test ./internal/cli -run CommandsPage -update", err)
	}
}

func commandsPage() []byte {
	var page bytes.Buffer
	page.WriteString("# Commands\n\nThis page is generated from the commands themselves.\n")
	a := &app{getenv: func(string) string { return "" }}
	writeCommand(&page, a.rootCommand())
	page.WriteString("\n## Exit codes\n\n| code | meaning |\n| --- | --- |\n| 0 | success |\n")
	for _, row := range exits {
		fmt.Fprintf(&page, "| %d | %s |\n", row.code, row.meaning)
	}
	for _, row := range ownExits {
		fmt.Fprintf(&page, "| %d | %s |\n", row.code, row.meaning)
	}
	page.WriteString("\n`airlock dev run` ends with the exit code of the command that it ran.\n")
	page.WriteString("\n## Environment\n\n| variable | meaning |\n| --- | --- |\n")
	for _, v := range variables {
		fmt.Fprintf(&page, "| `%s` | %s |\n", v.name, v.meaning)
	}
	return page.Bytes()
}

func writeCommand(page *bytes.Buffer, c *cobra.Command) {
	if c.Runnable() && c.HasParent() {
		fmt.Fprintf(page, "\n## %s\n\n", c.CommandPath())
		if c.Long != "" {
			page.WriteString(c.Long + "\n\n")
		} else {
			page.WriteString(c.Short + ".\n\n")
		}
		fmt.Fprintf(page, "```\n%s\n```\n", c.UseLine())
		if c.Example != "" {
			fmt.Fprintf(page, "\n```sh\n%s\n```\n", strings.ReplaceAll(strings.TrimPrefix(c.Example, "  "), "\n  ", "\n"))
		}
		if usages := strings.TrimRight(c.LocalFlags().FlagUsages(), "\n"); usages != "" {
			fmt.Fprintf(page, "\n```\n%s\n```\n", usages)
		}
	}
	for _, sub := range c.Commands() {
		writeCommand(page, sub)
	}
}
