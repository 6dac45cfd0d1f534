package cli

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/airlock-secrets/airlock/internal/fault"
)

// ask asks for a line on the terminal; an empty answer is the default.
func (a *app) ask(question, byDefault string) (string, error) {
	if byDefault != "" {
		question += " [" + byDefault + "]"
	}
	fmt.Fprint(a.env.Stderr, question+": ")
	line, err := a.readLine()
	if err != nil {
		return "", err
	}
	return first(strings.TrimSpace(line), byDefault), nil
}

// confirm asks whether to go on. Where nobody can answer, it is an error that names --yes.
func (a *app) confirm(question string) error {
	if !a.env.StdinTerminal {
		return fault.New(fault.Usage, "nobody is there to confirm; nothing was changed", "add --yes to do it, or --dry-run to look only")
	}
	answer, err := a.ask(question+" [y/N]", "")
	if err != nil {
		return err
	}
	switch strings.ToLower(answer) {
	case "y", "yes":
		return nil
	}
	return fault.New(fault.Canceled, "not confirmed; nothing was changed")
}

// readLine reads a line from standard input, byte for byte: what comes behind it is for the next one who reads. It ends
// with the program's context.
func (a *app) readLine() (string, error) {
	type result struct {
		line string
		err  error
	}
	read := make(chan result, 1)
	go func() {
		var line strings.Builder
		one := make([]byte, 1)
		for {
			n, err := a.env.Stdin.Read(one)
			if n > 0 && one[0] == '\n' {
				read <- result{line.String(), nil}
				return
			}
			line.Write(one[:n])
			if err != nil {
				read <- result{line.String(), err}
				return
			}
		}
	}()
	select {
	case r := <-read:
		if errors.Is(r.err, io.EOF) {
			a.say("")
			return "", fault.New(fault.Canceled, "the input ended; nothing was changed")
		}
		return r.line, r.err
	case <-a.env.Context.Done():
		a.say("")
		return "", fault.Wrap(fault.Canceled, a.env.Context.Err(), "interrupted; nothing was changed")
	}
}
