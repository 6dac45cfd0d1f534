package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/airlock-secrets/airlock/internal/fault"
	"github.com/airlock-secrets/airlock/internal/project"
)

// fileEdits are the changes of one command to a project's files: shown first, written together.
type fileEdits struct {
	tree  *project.Tree
	files []*project.File
	masks map[string]project.Mask // by the file's name; none shows everything
	// before is done before the files are written, such as keeping elsewhere what leaves them; may be nil. beforeDone says
	// so, for the report of a failure after it.
	before     func(context.Context) error
	beforeDone string

	warnings, next []string

	yes, dryRun, json bool
}

func (e *fileEdits) flags(c *cobra.Command) {
	c.Flags().BoolVarP(&e.yes, "yes", "y", false, "write without asking")
	c.Flags().BoolVar(&e.dryRun, "dry-run", false, "show what would change, and change nothing")
	c.MarkFlagsMutuallyExclusive("yes", "dry-run")
	jsonFlag(c, &e.json)
}

// read reads a file of the project, to be edited.
func (e *fileEdits) read(name string, mask project.Mask) (*project.File, error) {
	f, err := e.tree.Read(name)
	if err != nil {
		return nil, err
	}
	if e.masks == nil {
		e.masks = map[string]project.Mask{}
	}
	e.files, e.masks[name] = append(e.files, f), mask
	return f, nil
}

func (e *fileEdits) warn(format string, args ...any) {
	e.warnings = append(e.warnings, fmt.Sprintf(format, args...))
}

func (e *fileEdits) then(format string, args ...any) {
	e.next = append(e.next, fmt.Sprintf(format, args...))
}

// editReport is the JSON of a command that edits files.
type editReport struct {
	Files    []editedFile `json:"files"`
	Written  bool         `json:"written"`
	Warnings []string     `json:"warnings"`
	Next     []string     `json:"next"`
}

type editedFile struct {
	Name   string `json:"name"`
	Change string `json:"change"` // create, change or none
	Diff   string `json:"diff,omitempty"`
}

// edit shows what would change, asks, and writes.
func (a *app) edit(ctx context.Context, e *fileEdits) error {
	report := editReport{Files: []editedFile{}, Warnings: append([]string{}, e.warnings...), Next: append([]string{}, e.next...)}
	var changed []string
	for _, f := range e.files {
		one := editedFile{Name: f.Name, Change: "none", Diff: project.Diff(f, e.masks[f.Name])}
		if f.Changed() {
			one.Change = "change"
			if !f.Exists() {
				one.Change = "create"
			}
			changed = append(changed, f.Name)
		}
		report.Files = append(report.Files, one)
		if !e.json {
			fmt.Fprint(a.env.Stdout, one.Diff)
		}
	}
	for _, w := range e.warnings {
		a.say("airlock: warning: %s", w)
	}
	if len(changed) > 0 && !e.dryRun {
		if err := project.Writable(e.files...); err != nil {
			return err
		}
		if !e.yes {
			if err := a.confirm("Write " + strings.Join(changed, ", ") + "?"); err != nil {
				return err
			}
		}
		if e.before != nil {
			if err := e.before(ctx); err != nil {
				return err
			}
		}
		err := e.tree.Write(ctx, e.files...)
		if err != nil && e.before != nil {
			err = errors.Join(err, fault.New(fault.KindOf(err), e.beforeDone))
		}
		if err != nil {
			return err
		}
		report.Written = true
	}
	if e.json {
		return a.printJSON(report)
	}
	switch {
	case len(changed) == 0:
		fmt.Fprintln(a.env.Stdout, "nothing to change")
	case e.dryRun:
		fmt.Fprintln(a.env.Stdout, "would write "+strings.Join(changed, ", "))
	default:
		fmt.Fprintln(a.env.Stdout, "wrote "+strings.Join(changed, ", "))
	}
	for _, n := range e.next {
		fmt.Fprintln(a.env.Stdout, "next:", n)
	}
	return nil
}
