package project

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/airlock-secrets/airlock/internal/fault"
)

// folder makes a folder with files; a name that ends in "->" is a link to its content.
func folder(t *testing.T, files map[string]string) (string, *Tree) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		link, isLink := strings.CutSuffix(name, "->")
		path := filepath.Join(dir, link)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		write := func() error { return os.WriteFile(path, []byte(text), 0o640) }
		if isLink {
			write = func() error { return os.Symlink(text, path) }
		}
		if err := write(); err != nil {
			t.Fatal(err)
		}
	}
	tree, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return dir, tree
}

// edited reads files and appends a line to each.
func edited(t *testing.T, tree *Tree, names ...string) []*File {
	t.Helper()
	var files []*File
	for _, name := range names {
		f, err := tree.Read(name)
		if err != nil {
			t.Fatal(err)
		}
		f.New = appendLine(f.Old, "new")
		files = append(files, f)
	}
	return files
}

// contents are all files below dir, with their text.
func contents(t *testing.T, dir string) string {
	t.Helper()
	var all strings.Builder
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		all.WriteString(strings.TrimPrefix(path, dir+"/") + "=" + strings.ReplaceAll(string(text), "\n", ";") + " ")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(all.String())
}

func TestWrite(t *testing.T) {
	dir, tree := folder(t, map[string]string{".env": "A=1", "conf/requirements.txt": "x\n", "requirements.txt->": "conf/requirements.txt"})
	if err := os.Chmod(filepath.Join(dir, ".env"), 0o600); err != nil {
		t.Fatal(err)
	}
	// What a killed run left behind goes.
	if err := os.WriteFile(filepath.Join(dir, ".env.airlock-123"), []byte("canary"), 0o600); err != nil {
		t.Fatal(err)
	}
	files := edited(t, tree, ".env", "requirements.txt", ".env.example", "deep/er/new.txt")
	files[2].Private = true
	if err := tree.Write(t.Context(), files...); err != nil {
		t.Fatal(err)
	}
	want := ".env=A=1;new; .env.example=new; conf/requirements.txt=x;new; deep/er/new.txt=new; requirements.txt=x;new;"
	if got := contents(t, dir); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	for name, want := range map[string]os.FileMode{".env": 0o600, "conf/requirements.txt": 0o640, ".env.example": 0o600, "deep/er/new.txt": 0o644} {
		if info, err := os.Lstat(filepath.Join(dir, name)); err != nil || info.Mode() != want {
			t.Errorf("%s: %v %v, want %v", name, info.Mode(), err, want)
		}
	}
	if info, _ := os.Lstat(filepath.Join(dir, "requirements.txt")); info.Mode()&os.ModeSymlink == 0 {
		t.Error("the link was replaced by a file")
	}
}

func TestReadRefuses(t *testing.T) {
	outside := t.TempDir()
	_, tree := folder(t, map[string]string{
		"out->": outside + "/x", "dir->": outside, "broken->": "nowhere", "in->": "sub/f", "sub/f": "x", "utf16": "A\x00=\x001\x00", "loop->": "loop",
	})
	if err := os.WriteFile(filepath.Join(outside, "x"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"out": "out is a link that leaves the project", "dir/x": "a link that leaves the project", "dir/new": "a link that leaves the project",
		"broken": "a link to a file that does not exist", "../x": "is not inside the project", "sub": "sub is not a file",
		"utf16": "is not UTF-8 text", "loop": "cannot read loop",
	} {
		if _, err := tree.Read(name); !fault.Is(err, fault.Usage) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", name, err, want)
		}
	}
	if f, err := tree.Read("in"); err != nil || string(f.Old) != "x" {
		t.Errorf("a link inside of the project: %v", err)
	}
}

func TestWriteAllOrNone(t *testing.T) {
	start := map[string]string{"a": "1", "b": "2", "ro/c": "3"}
	const before = "a=1 b=2 ro/c=3"
	interrupted, interrupt := context.WithCancel(t.Context())
	for _, row := range []struct {
		name   string
		ctx    context.Context
		spoil  func(t *testing.T, dir string)
		rename func(dir string) func(from, to string) error
		want   string
		after  string
		kind   fault.Kind
	}{
		{name: "read-only file", spoil: func(t *testing.T, dir string) { chmod(t, dir, "b", 0o440) }, want: "cannot write b: it is read-only"},
		{name: "changed meanwhile", spoil: func(t *testing.T, dir string) { put(t, dir, "b", "theirs") },
			want: "cannot write b: it was changed by somebody else meanwhile", after: "a=1 b=theirs ro/c=3"},
		{name: "made meanwhile", spoil: func(t *testing.T, dir string) { put(t, dir, "n/new", "theirs") },
			want: "cannot write n/new: it was made by somebody else meanwhile", after: "a=1 b=2 n/new=theirs ro/c=3"},
		{name: "file for a folder", spoil: func(t *testing.T, dir string) { put(t, dir, "n", "theirs") }, want: "cannot write n/new: n is not a folder", after: "a=1 b=2 n=theirs ro/c=3"},
		{name: "first rename", rename: failing(0), want: "cannot write a: disk on fire; no file was changed"},
		{name: "third rename", rename: failing(2), want: "cannot write ro/c: disk on fire; all files are as they were before"},
		{name: "last rename", rename: failing(3), want: "cannot write n/new: disk on fire; all files are as they were before"},
		{name: "no way back", rename: failing(2, 3), want: "cannot write ro/c: disk on fire; a could not be put back and has the new content; the other files are as they were before",
			after: "a=1;new; b=2 ro/c=3"},
		{name: "interrupted", ctx: interrupted, rename: func(string) func(from, to string) error {
			return func(from, to string) error { interrupt(); return os.Rename(from, to) }
		}, want: "interrupted; all files are as they were before", kind: fault.Canceled},
		{name: "interrupted before", ctx: interrupted, want: "interrupted; no file was changed", kind: fault.Canceled},
	} {
		t.Run(row.name, func(t *testing.T) {
			dir, tree := folder(t, start)
			files := edited(t, tree, "a", "b", "ro/c", "n/new")
			if row.spoil != nil {
				row.spoil(t, dir)
			}
			rename := os.Rename
			if row.rename != nil {
				rename = row.rename(dir)
			}
			ctx, kind, after := row.ctx, row.kind, row.after
			if ctx == nil {
				ctx, kind = t.Context(), fault.Usage
			}
			if after == "" {
				after = before
			}
			err := tree.write(ctx, files, rename)
			if !fault.Is(err, kind) || !strings.Contains(err.Error(), row.want) {
				t.Errorf("got %v (%v), want %q", err, fault.KindOf(err), row.want)
			}
			if row.spoil != nil && !strings.Contains(err.Error(), nothingDone) {
				t.Errorf("%v does not say that no file was changed", err)
			}
			if got := contents(t, dir); got != after {
				t.Errorf("got  %s\nwant %s", got, after)
			}
		})
	}
}

// failing renames, but for the calls of these numbers.
func failing(calls ...int) func(string) func(from, to string) error {
	return func(string) func(from, to string) error {
		n := -1
		return func(from, to string) error {
			n++
			for _, c := range calls {
				if n == c {
					return &os.LinkError{Op: "rename", Old: from, New: to, Err: errors.New("disk on fire")}
				}
			}
			return os.Rename(from, to)
		}
	}
}

func chmod(t *testing.T, dir, name string, mode os.FileMode) {
	t.Helper()
	if err := os.Chmod(filepath.Join(dir, name), mode); err != nil {
		t.Fatal(err)
	}
}

func put(t *testing.T, dir, name, text string) {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o600)); err != nil {
		t.Fatal(err)
	}
}

func TestFind(t *testing.T) {
	dir, _ := folder(t, map[string]string{".astro/config.yaml": "project:\n", "Dockerfile": "FROM x\n", "dags/d.py": "", "half/.astro/config.yaml": ""})
	for name, want := range map[string]string{"": "", "dags": "no Astro project here: this folder has no .astro/config.yaml", "half": "no Dockerfile"} {
		err := Find(filepath.Join(dir, name))
		if want == "" && err != nil || want != "" && (!fault.Is(err, fault.Usage) || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: %v", name, err)
		}
		if name == "dags" && fault.HintsOf(err)[0] != "a folder above this one is a project: cd "+dir {
			t.Errorf("hints: %v", fault.HintsOf(err))
		}
	}
}
