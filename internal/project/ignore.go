package project

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"github.com/moby/patternmatcher"
	"github.com/moby/patternmatcher/ignorefile"

	"github.com/airlock-secrets/airlock/internal/fault"
)

// Unignored are the names that .dockerignore, by Docker's own rules, lets into an image.
func Unignored(dockerignore []byte, names ...string) ([]string, error) {
	wrong := func(err error) error {
		return fault.Wrap(fault.Usage, err, fmt.Sprintf("%s is not understood: %v", DockerignoreFile, err))
	}
	patterns, err := ignorefile.ReadAll(bytes.NewReader(dockerignore))
	if err != nil {
		return nil, wrong(err)
	}
	matcher, err := patternmatcher.New(patterns)
	if err != nil {
		return nil, wrong(err)
	}
	var open []string
	for _, name := range names {
		ignored, err := matcher.MatchesOrParentMatches(strings.TrimSuffix(name, "/"))
		if err != nil {
			return nil, wrong(err)
		}
		if !ignored {
			open = append(open, name)
		}
	}
	return open, nil
}

// AddIgnores adds names to an ignore file, at the end, where nothing takes them back.
func AddIgnores(data []byte, names ...string) []byte {
	for _, name := range names {
		data = appendLine(data, name)
	}
	return data
}

// Committable are the names below dir that git would take into a commit, by the ignore files that everybody has who clones
// the repository: what only this machine or this clone ignores does not count. Git itself is asked, in a folder that is no
// repository, too. Without git on this machine the lines of dir's own .gitignore are compared literally.
func Committable(ctx context.Context, dir string, gitignore []byte, names ...string) ([]string, error) {
	if _, err := exec.LookPath("git"); err != nil {
		return unlisted(gitignore, names), nil
	}
	top, err := GitTop(ctx, dir)
	if err != nil {
		return nil, err
	}
	if top == "" {
		top = dir
	}
	// A git directory of its own, so that neither info/exclude nor the user's excludes have a say.
	blank, err := os.MkdirTemp("", "airlock-git-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(blank)
	if _, err := git(ctx, dir, "init", "--quiet", "--bare", "--template=", blank); err != nil {
		return nil, err
	}
	var open []string
	for _, name := range names {
		_, err := git(ctx, dir, "--git-dir="+blank, "--work-tree="+top, "-c", "core.excludesFile=/dev/null", "-c", "core.bare=false",
			"check-ignore", "--no-index", "--quiet", "--", name)
		var exit *exec.ExitError
		switch {
		case errors.As(err, &exit) && exit.ExitCode() == 1:
			open = append(open, name)
		case err != nil:
			return nil, err
		}
	}
	return open, nil
}

// Tracked are the names below dir that git has taken into its index, so that ignoring them has no effect.
func Tracked(ctx context.Context, dir string, names ...string) []string {
	out, err := git(ctx, dir, append([]string{"ls-files", "-z", "--"}, names...)...)
	if err != nil {
		return nil // no git, or no repository
	}
	var tracked []string
	for name := range strings.SplitSeq(string(out), "\x00") {
		if name != "" {
			tracked = append(tracked, name)
		}
	}
	return tracked
}

// GitTop is the root of the repository that dir lies in; "" when it lies in none or there is no git.
func GitTop(ctx context.Context, dir string) (string, error) {
	out, err := git(ctx, dir, "rev-parse", "--show-toplevel")
	if err != nil {
		return "", ctx.Err()
	}
	return strings.TrimSuffix(string(out), "\n"), nil
}

// git runs a git command. No argument may hold anything secret: every user of the machine can see it.
func git(ctx context.Context, dir string, args ...string) ([]byte, error) {
	c := exec.CommandContext(ctx, "git", args...)
	c.Dir = dir
	c.Env = append(os.Environ(), "GIT_OPTIONAL_LOCKS=0", "LC_ALL=C")
	out, err := c.Output()
	if err != nil {
		return nil, fmt.Errorf("git %s: %w", args[0], err)
	}
	return out, nil
}

func unlisted(gitignore []byte, names []string) []string {
	listed := map[string]bool{}
	for line := range strings.SplitSeq(string(gitignore), "\n") {
		listed[strings.Trim(strings.TrimSpace(line), "/")] = true
	}
	var open []string
	for _, name := range names {
		if !listed[strings.Trim(name, "/")] {
			open = append(open, name)
		}
	}
	return open
}
