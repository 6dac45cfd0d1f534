package project

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"

	"github.com/airlock-secrets/airlock/internal/fault"
	"github.com/airlock-secrets/airlock/internal/secret"
)

// Leak is a commit that brought a secret into the history.
type Leak struct {
	Commit string // its full id
	Path   string // from the root of the repository
}

// minSecret is the length from which on a find means something.
const minSecret = 6

// History searches all branches, tags and stashes of the repository around dir for secrets. Git is made to print every
// change, and the search is done here: an argument of git's own search would show the secret to all users of the machine.
// No git and no repository are no leaks.
func History(ctx context.Context, dir string, secrets []secret.Value) ([]Leak, error) {
	top, err := GitTop(ctx, dir)
	needles := needles(secrets)
	if err != nil || top == "" || len(needles) == 0 {
		return nil, err
	}
	c := exec.CommandContext(ctx, "git", "-c", "core.quotePath=false", "log", "--all", "--reflog",
		"-m", "-p", "--unified=0", "--text", "--no-color", "--no-ext-diff", "--no-textconv",
		"--no-renames", "--src-prefix=a/", "--dst-prefix=b/", "--format=commit %H")
	c.Dir, c.Env = dir, append(os.Environ(), "LC_ALL=C", "GIT_OPTIONAL_LOCKS=0")
	out, err := c.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := c.Start(); err != nil {
		return nil, fault.Wrap(fault.Internal, err, "cannot read git's history: "+err.Error())
	}
	leaks, readErr := search(out, needles)
	_, _ = io.Copy(io.Discard, out)
	if err := errors.Join(readErr, c.Wait()); err != nil {
		if ctx.Err() != nil {
			return nil, fault.Wrap(fault.Canceled, ctx.Err(), "interrupted; no file was changed")
		}
		if len(leaks) == 0 && noCommits(ctx, dir) {
			return nil, nil
		}
		return nil, fault.Wrap(fault.Internal, err, fmt.Sprintf("cannot read git's history: %v", err))
	}
	return leaks, nil
}

func noCommits(ctx context.Context, dir string) bool {
	_, err := git(ctx, dir, "rev-parse", "--verify", "--quiet", "HEAD")
	return err != nil
}

// needles are the forms in which secrets stand in files: as they are, and as JSON writes them.
func needles(secrets []secret.Value) [][]byte {
	var all [][]byte
	for _, s := range secrets {
		if s.Len() < minSecret {
			continue
		}
		all = append(all, s.Reveal())
		if inJSON, err := json.Marshal(string(s.Reveal())); err == nil {
			if inner := inJSON[1 : len(inJSON)-1]; !bytes.Equal(inner, s.Reveal()) {
				all = append(all, inner)
			}
		}
	}
	return all
}

// search reads what git log prints.
func search(log io.Reader, needles [][]byte) ([]Leak, error) {
	var leaks []Leak
	seen := map[Leak]bool{}
	var at Leak
	reader := bufio.NewReaderSize(log, 1<<20)
	for {
		line, err := reader.ReadBytes('\n')
		switch {
		case bytes.HasPrefix(line, []byte("commit ")):
			at = Leak{Commit: strings.TrimSpace(string(line[len("commit "):]))}
		case bytes.HasPrefix(line, []byte("+")):
			if path, ok := strings.CutPrefix(strings.ReplaceAll(string(line), `"`, ""), "+++ b/"); ok {
				at.Path = strings.TrimRight(path, "\t\n")
			}
			for _, n := range needles {
				if bytes.Contains(line, n) && !seen[at] {
					seen[at] = true
					leaks = append(leaks, at)
				}
			}
		}
		if errors.Is(err, io.EOF) {
			return leaks, nil
		}
		if err != nil {
			return leaks, err
		}
	}
}
