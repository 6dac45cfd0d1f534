package project

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/airlock-secrets/airlock/internal/fault"
)

// Write writes what has changed in files, all or none: a file that cannot be written is found before anything is, new
// content is laid beside each file and takes its place by renaming, and when that fails half way, or ctx ends, what was
// renamed is put back. Mode and owner stay. The error's message says what state the files are in.
//
// A process that is killed outright between two renames leaves some files new and some old, each of them whole; running
// the command again completes the work.
func (t *Tree) Write(ctx context.Context, files ...*File) error {
	return t.write(ctx, files, os.Rename)
}

// Writable tells what stands in the way of writing files, all of it at once; those that stay as they are do not matter.
// Write asks it itself; whoever does something else before writing asks first.
func Writable(files ...*File) error {
	var problems []error
	for _, f := range files {
		if err := f.writable(); f.Changed() && err != nil {
			problems = append(problems, err)
		}
	}
	if len(problems) > 0 {
		problems = append(problems, fault.New(fault.Usage, nothingDone))
	}
	return errors.Join(problems...)
}

const (
	nothingDone = "no file was changed"
	allAsBefore = "all files are as they were before"
)

// write is Write with a rename that tests make fail.
func (t *Tree) write(ctx context.Context, files []*File, rename func(from, to string) error) error {
	if err := Writable(files...); err != nil {
		return err
	}
	var w writing
	for _, f := range files {
		if f.Changed() {
			w.files = append(w.files, f)
		}
	}
	defer w.cleanUp()
	for _, f := range w.files {
		if err := w.stage(f); err != nil {
			return fault.Wrap(fault.Usage, err, fmt.Sprintf("cannot write %s: %v; %s", f.Name, cause(err), nothingDone))
		}
	}
	for i, f := range w.files {
		err := ctx.Err()
		if err == nil {
			err = rename(w.staged[i], f.path)
		}
		if err == nil {
			continue
		}
		return w.undo(i, err, rename)
	}
	for _, f := range w.files {
		syncDir(filepath.Dir(f.path))
	}
	return nil
}

// writing is one Write under way.
type writing struct {
	files  []*File
	staged []string // beside each file, its new content
	made   []string // folders that were made, outer ones first
}

// stage lays the new content beside its file.
func (w *writing) stage(f *File) error {
	dir := filepath.Dir(f.path)
	if err := w.makeDir(dir); err != nil {
		return err
	}
	staged, err := beside(f, f.New)
	if err != nil {
		return err
	}
	w.staged = append(w.staged, staged)
	return nil
}

func (w *writing) makeDir(dir string) error {
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := w.makeDir(filepath.Dir(dir)); err != nil {
		return err
	}
	w.made = append(w.made, dir)
	return os.Mkdir(dir, 0o755)
}

// undo puts back the first n files, and says how that went.
func (w *writing) undo(n int, why error, rename func(from, to string) error) error {
	var lost []string
	for _, f := range w.files[:n] {
		if err := putBack(f, rename); err != nil {
			lost = append(lost, f.Name)
		}
	}
	kind, what := fault.Usage, fmt.Sprintf("cannot write %s: %v", w.files[n].Name, cause(why))
	if errors.Is(why, context.Canceled) || errors.Is(why, context.DeadlineExceeded) {
		kind, what = fault.Canceled, "interrupted"
	}
	switch {
	case len(lost) > 0:
		return fault.Wrap(kind, why, fmt.Sprintf("%s; %s could not be put back and has the new content; the other files are as they were before",
			what, strings.Join(lost, ", ")), "run the same command again to complete it")
	case n == 0:
		return fault.Wrap(kind, why, what+"; "+nothingDone)
	}
	return fault.Wrap(kind, why, what+"; "+allAsBefore)
}

func putBack(f *File, rename func(from, to string) error) error {
	if !f.Exists() {
		return os.Remove(f.path)
	}
	staged, err := beside(f, f.Old)
	if err != nil {
		return err
	}
	if err := rename(staged, f.path); err != nil {
		_ = os.Remove(staged)
		return err
	}
	return nil
}

// cleanUp removes what was laid beside the files and has not taken their place, and folders that stayed empty.
func (w *writing) cleanUp() {
	for _, path := range w.staged {
		_ = os.Remove(path)
	}
	for i := len(w.made) - 1; i >= 0; i-- {
		_ = os.Remove(w.made[i]) // fails where the folder is in use, as it should
	}
}

// beside writes data into a new file next to f, with the mode and the owner that f has or shall have.
func beside(f *File, data []byte) (path string, err error) {
	mode := fs.FileMode(0o644)
	switch {
	case f.Exists():
		mode = f.info.Mode().Perm()
	case f.Private:
		mode = 0o600
	}
	pattern := "." + strings.TrimPrefix(filepath.Base(f.path), ".") + ".airlock-"
	removeLeftovers(filepath.Dir(f.path), pattern)
	out, err := os.CreateTemp(filepath.Dir(f.path), pattern+"*") // mode 0600
	if err != nil {
		return "", err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(out.Name())
		}
	}()
	_, err = out.Write(data)
	if err == nil && f.Exists() {
		err = keepOwner(out, f.info)
	}
	if err == nil {
		err = out.Chmod(mode)
	}
	if err == nil {
		err = out.Sync()
	}
	return out.Name(), errors.Join(err, out.Close())
}

// removeLeftovers removes what a run left behind that was killed outright: it holds what .env holds, under a name that
// nobody ignores.
func removeLeftovers(dir, prefix string) {
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), prefix) && e.Type().IsRegular() {
			_ = os.Remove(filepath.Join(dir, e.Name()))
		}
	}
}

func keepOwner(out *os.File, info fs.FileInfo) error {
	was, ok := info.Sys().(*syscall.Stat_t)
	now, err := out.Stat()
	if err != nil || !ok {
		return err
	}
	if is, ok := now.Sys().(*syscall.Stat_t); ok && is.Uid == was.Uid && is.Gid == was.Gid {
		return nil
	}
	return out.Chown(int(was.Uid), int(was.Gid))
}

// writable says what stands in the way of writing f, before anything is written.
func (f *File) writable() error {
	refuse := func(why string, hints ...string) error {
		return fault.New(fault.Usage, fmt.Sprintf("cannot write %s: %s", f.Name, why), hints...)
	}
	if f.Exists() {
		now, err := os.ReadFile(f.path)
		info, ierr := os.Stat(f.path)
		switch {
		case err != nil || ierr != nil || !bytes.Equal(now, f.Old):
			return refuse("it was changed by somebody else meanwhile", "run the command again")
		// Renaming would replace it all the same; but somebody took the right to write away on purpose.
		case info.Mode().Perm()&0o222 == 0, unix.Access(f.path, unix.W_OK) != nil:
			return refuse("it is read-only", "make it writable: chmod u+w "+f.Name)
		}
	} else if _, err := os.Lstat(f.path); err == nil {
		return refuse("it was made by somebody else meanwhile", "run the command again")
	}
	dir := filepath.Dir(f.path)
	for dir != filepath.Dir(dir) {
		if _, err := os.Stat(dir); err == nil {
			break
		}
		dir = filepath.Dir(dir)
	}
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return refuse(filepath.Base(dir) + " is not a folder")
	}
	if unix.Access(dir, unix.W_OK|unix.X_OK) != nil {
		return refuse("its folder is read-only")
	}
	return nil
}

// cause is the innermost reason, without the paths that the os package puts around it.
func cause(err error) error {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err
		}
		err = inner
	}
}

func syncDir(dir string) {
	if d, err := os.Open(dir); err == nil {
		_ = d.Sync()
		_ = d.Close()
	}
}
