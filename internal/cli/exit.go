package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/airlock-secrets/airlock/internal/fault"
)

// exits is the table of exit codes: part of the interface, as the flags are.
var exits = []struct {
	kind    fault.Kind
	code    int
	meaning string
}{
	{fault.Internal, 1, "failure"},
	{fault.Usage, 2, "usage: the command, the configuration or an id is wrong in itself"},
	{fault.NotFound, 3, "not found"},
	{fault.Forbidden, 4, "forbidden: the vault, Entra ID or the agent refuses"},
	{fault.Unavailable, 5, "unavailable: the vault, Entra ID or the agent does not answer"},
	{fault.Canceled, 130, "interrupted"},
}

func exitCode(err error) int {
	if err == nil {
		return 0
	}
	kind := fault.KindOf(err)
	for _, row := range exits {
		if row.kind == kind {
			return row.code
		}
	}
	return 1
}

// exitDifferent is no failure: a comparison or an examination has found something.
const exitDifferent = 6

const differentMeaning = "difference: diff found one, or lint something that Airflow could not use"

// quietExit carries an exit code about which there is nothing to print: that of the command that `dev run` ran, or
// exitDifferent.
type quietExit struct{ code int }

func (q *quietExit) Error() string { return fmt.Sprintf("exit code %d", q.code) }

func exitCodesTopic() *cobra.Command {
	var text strings.Builder
	text.WriteString("Exit codes of airlock:\n\n")
	fmt.Fprintf(&text, "%5d  %s\n", 0, "success")
	for _, row := range exits {
		fmt.Fprintf(&text, "%5d  %s\n", row.code, row.meaning)
	}
	fmt.Fprintf(&text, "%5d  %s\n", exitDifferent, differentMeaning)
	text.WriteString("\n`airlock dev run` ends with the exit code of the command that it ran.")
	return &cobra.Command{Use: "exit-codes", Short: "What the exit codes mean", Long: text.String()}
}
