package cli

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/airlock-secrets/airlock/internal/dotenv"
	"github.com/airlock-secrets/airlock/internal/fault"
)

// envFormats write the environment of a running dev.
var envFormats = map[string]func(a *app, state devState) error{
	"dotenv": func(a *app, state devState) error { return writeEnv(a.env.Stdout, state.Env, "", dotenv.Quote) },
	"shell": func(a *app, state devState) error {
		fmt.Fprintln(a.env.Stdout, "unset "+strings.Join(state.Unset, " "))
		return writeEnv(a.env.Stdout, state.Env, "export ", shellQuote)
	},
	"json": func(a *app, state devState) error { return a.printJSON(state.Env) },
}

func (a *app) devEnvCommand() *cobra.Command {
	var format string
	var tokens bool
	formats := slices.Sorted(maps.Keys(envFormats))
	c := &cobra.Command{
		Use:   "env",
		Short: "Print the environment of the running dev",
		Long: `Print the environment that makes Azure SDKs and Airflow use the dev that runs in this folder: the proxy, the
certificates, the vault, the login, and the backend's configuration. It holds the local app's secret.

With --tokens it prints those of the local Astro and GitHub, too, and the Astro CLI's folder: in your shell they stand
before your real ones. airlock dev run always has them.`,
		Example: `  eval "$(airlock dev env --format shell)"`,
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			write, ok := envFormats[format]
			if !ok {
				return usage(c, fmt.Errorf("unknown format %q; it is one of: %s", format, strings.Join(formats, ", ")))
			}
			state, err := a.runningDev()
			if err != nil {
				return err
			}
			if tokens {
				maps.Copy(state.Env, state.Tokens)
			}
			return write(a, state)
		},
	}
	c.Flags().BoolVar(&tokens, "tokens", false, "print ASTRO_API_TOKEN, GITHUB_TOKEN and what goes with them, too")
	c.Flags().StringVar(&format, "format", "dotenv", "one of: "+strings.Join(formats, ", "))
	_ = c.RegisterFlagCompletionFunc("format", cobra.FixedCompletions(formats, cobra.ShellCompDirectiveNoFileComp))
	return c
}

func writeEnv(w io.Writer, env map[string]string, before string, quote func(string) string) error {
	for _, key := range slices.Sorted(maps.Keys(env)) {
		if _, err := fmt.Fprintln(w, before+key+"="+quote(env[key])); err != nil {
			return fault.Wrap(fault.Internal, err, "cannot write the environment")
		}
	}
	return nil
}

func shellQuote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
