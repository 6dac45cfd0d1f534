package cli

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/airlock-secrets/airlock/internal/agentapi"
	"github.com/airlock-secrets/airlock/internal/airflow"
	"github.com/airlock-secrets/airlock/internal/config"
	"github.com/airlock-secrets/airlock/internal/fault"
	"github.com/airlock-secrets/airlock/internal/keyvault"
	"github.com/airlock-secrets/airlock/internal/migrate"
	"github.com/airlock-secrets/airlock/internal/secret"
)

func (a *app) setCommand() *cobra.Command {
	var dev, keepNewline, takeBack bool
	var login azLogin
	c := &cobra.Command{
		Use:   "set KIND ID [VALUE | -]",
		Short: "Write a value to the vault",
		Long: `Write the value of a variable, a connection or a config option to the vault, as a new version of its secret.

The exact id is kept in the secret's tag ` + migrate.TagID + `, since its name does not tell "_" from "-". What Airflow could not use, or would
misread, is warned of.

Without VALUE, or with '-', the value is read from standard input, where one final newline is not part of it; on a
terminal it is asked for and not shown.`,
		Example: `  airlock set variable hello                       asks for the value
  printf %s "$URI" | airlock set connection my_db -
  airlock set --dev variable hello < value.txt`,
		Args:              cobra.RangeArgs(2, 3),
		ValidArgsFunction: a.completeID,
		RunE: func(c *cobra.Command, args []string) error {
			about, err := a.subject(dev, args)
			if err != nil {
				return err
			}
			about.Config = login.config(about.Config)
			name, v, err := about.secret()
			if err != nil {
				return err
			}
			value, err := a.valueFor(about.kind, args, keepNewline)
			if err != nil {
				return err
			}
			// Not found: it is not among the deleted, and so there is nothing to take back.
			if takeBack {
				if err := v.Recover(c.Context(), name); err != nil && !fault.Is(err, fault.NotFound) {
					return err
				}
			}
			for _, f := range migrate.CheckValue(about.kind, about.id, value) {
				a.say("airlock: warning: %s", f.Message)
				for _, hint := range f.Hints {
					a.say("airlock: hint: %s", hint)
				}
			}
			content := keyvault.Content{Value: value, Tags: migrate.Tags(about.kind, about.id)}
			if _, err := v.Set(c.Context(), name, content); err != nil {
				return login.refused(err, dev, "set")
			}
			fmt.Fprintf(a.env.Stdout, "set %s %s (secret %s)\n", about.kind, about.id, name)
			a.forget(c.Context(), about.Config, about.lookup())
			return nil
		},
	}
	c.Flags().BoolVar(&keepNewline, "keep-newline", false, "a final newline of standard input is part of the value")
	c.Flags().BoolVar(&takeBack, "recover", false, "if the secret is deleted and not yet gone, take it back first, with its old versions")
	devFlag(c, &dev)
	login.flag(c)
	return c
}

// valueFor reads the value from where the arguments say, and checks that a vault can hold it.
func (a *app) valueFor(kind airflow.Kind, args []string, keepNewline bool) (secret.Value, error) {
	var raw []byte
	var err error
	switch {
	case len(args) == 3 && args[2] != "-":
		raw = []byte(args[2])
		a.say("airlock: hint: a value on the command line stays in the shell's history and shows in the list of processes; "+
			"leave it out, and airlock reads it from standard input: airlock set %s %s -", args[0], args[1])
	case a.env.StdinTerminal:
		raw, err = a.prompt(fmt.Sprintf("Value of %s %s (not shown): ", kind, args[1]))
	default:
		raw, err = io.ReadAll(io.LimitReader(a.env.Stdin, 4*airflow.MaxValueBytes))
		if !keepNewline {
			raw = bytes.TrimSuffix(bytes.TrimSuffix(raw, []byte("\n")), []byte("\r"))
		}
	}
	if err != nil {
		return secret.Value{}, err
	}
	defer clear(raw)
	if len(raw) > airflow.MaxValueBytes {
		return secret.Value{}, fault.New(fault.Usage,
			fmt.Sprintf("the value has more than %d bytes, the most that Key Vault keeps in a secret", airflow.MaxValueBytes),
			"keep large values in a store for files, and their place in the secret")
	}
	if !utf8.Valid(raw) {
		return secret.Value{}, fault.New(fault.Usage, "the value is not UTF-8 text", "encode it, for example with base64")
	}
	return secret.New(raw), nil
}

// prompt asks on the terminal without showing what is typed. Ctrl-C leaves the terminal as it was.
func (a *app) prompt(text string) ([]byte, error) {
	file, ok := a.env.Stdin.(*os.File)
	if !ok {
		return nil, fault.New(fault.Internal, "the terminal is not a file")
	}
	state, err := term.GetState(int(file.Fd()))
	if err != nil {
		return nil, err
	}
	defer func() { _ = term.Restore(int(file.Fd()), state) }()
	if err := echoOff(int(file.Fd())); err != nil {
		return nil, err
	}
	fmt.Fprint(a.env.Stderr, text)
	type result struct {
		raw []byte
		err error
	}
	read := make(chan result, 1)
	go func() {
		raw, err := term.ReadPassword(int(file.Fd()))
		read <- result{raw, err}
	}()
	select {
	case r := <-read:
		a.say("")
		return r.raw, r.err
	case <-a.env.Context.Done():
		a.say("")
		return nil, fault.Wrap(fault.Canceled, a.env.Context.Err(), "interrupted; nothing was written")
	}
}

// forget makes the agent in question drop what it holds of some ids that were just written, or all that it holds. An agent
// that does not answer will see the change when what it holds grows old.
func (a *app) forget(ctx context.Context, c config.Config, written ...agentapi.Lookup) {
	agent, err := namedAgent(c)
	if agent == nil && err == nil {
		return
	}
	if err == nil {
		err = agent.Refresh(ctx, written...)
	}
	if err != nil {
		a.say("airlock: warning: the agent was not told, and may serve old values for %v: %v", c.CacheTTL, err)
	}
}
