package cli

import (
	"bufio"
	"fmt"
	"strings"

	"github.com/airlock-secrets/airlock/internal/fault"
)

// confirm asks a question that is answered with yes or no; what is not yes is no. Where nobody can be asked, it says how to
// answer beforehand.
func (a *app) confirm(question string) (bool, error) {
	if !a.env.StdinTerminal {
		return false, fault.New(fault.Usage, "nothing was written: there is no terminal to ask on", "add --yes to write, or --dry-run to see the plan only")
	}
	fmt.Fprint(a.env.Stderr, question+" [y/N] ")
	answer := make(chan string, 1)
	go func() {
		line, _ := bufio.NewReader(a.env.Stdin).ReadString('\n') // an end of input is no
		answer <- strings.ToLower(strings.TrimSpace(line))
	}()
	select {
	case line := <-answer:
		return line == "y" || line == "yes", nil
	case <-a.env.Context.Done():
		a.say("")
		return false, fault.Wrap(fault.Canceled, a.env.Context.Err(), "interrupted; nothing was written")
	}
}
