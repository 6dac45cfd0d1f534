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

// ownExits are the codes that commands have for what they found. They are no failures.
var ownExits = []struct {
	code    int
	meaning string
}{
	{exitFound, "found: a difference (diff), something that Airflow could not use (lint), a warning (doctor --strict)"},
	{exitBroken, "broken: a link of the chain (doctor)"},
}

const (
	exitFound  = 6
	exitBroken = 7
)

// ownExit carries an exit code for which the command has said why, or the one of a command that `dev run` ran. It is not
// printed.
type ownExit struct{ code int }

func (c *ownExit) Error() string { return fmt.Sprintf("the command ended with exit code %d", c.code) }

func exitCodesTopic() *cobra.Command {
	var text strings.Builder
	text.WriteString("Exit codes of airlock:\n\n")
	fmt.Fprintf(&text, "%5d  %s\n", 0, "success")
	for _, row := range exits {
		fmt.Fprintf(&text, "%5d  %s\n", row.code, row.meaning)
	}
	for _, row := range ownExits {
		fmt.Fprintf(&text, "%5d  %s\n", row.code, row.meaning)
	}
	text.WriteString("\n`airlock dev run` ends with the exit code of the command that it ran.")
	return &cobra.Command{Use: "exit-codes", Short: "What the exit codes mean", Long: text.String()}
}
