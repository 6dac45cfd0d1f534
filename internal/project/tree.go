package project

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"unicode/utf8"

	"github.com/airlock-secrets/airlock/internal/fault"
)

// maxFile is the largest file that is edited. These are files that people write.
const maxFile = 4 << 20

// Tree is a folder whose files are edited. Nothing outside of it is read or written, wherever links point.
type Tree struct {
	dir string // without links
}

// Open opens a folder.
func Open(dir string) (*Tree, error) {
	real, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return nil, fault.Wrap(fault.Usage, err, "cannot open the project: "+err.Error())
	}
	return &Tree{dir: real}, nil
}

// File is one file as it was read, and as it shall be.
type File struct {
	Name    string // as given to Read
	Old     []byte // nil when there is none yet
	New     []byte // what Write writes; as Old at first
	Private bool   // a new file is for its owner alone

	path string      // where the bytes lie, behind links
	info fs.FileInfo // nil when there is none yet
}

// Exists tells whether the file is there.
func (f *File) Exists() bool { return f.info != nil }

// Changed tells whether Write has anything to write.
func (f *File) Changed() bool { return !bytes.Equal(f.Old, f.New) || !f.Exists() && len(f.New) > 0 }

// Read reads a file by its name in the folder. One that is not there has no content and can be written. A link that leaves
// the folder, something that is not a file, and a text that is not UTF-8 are errors of kind Usage.
func (t *Tree) Read(name string) (*File, error) {
	refuse := func(why string, hints ...string) error {
		return fault.New(fault.Usage, fmt.Sprintf("%s %s", name, why), hints...)
	}
	if !filepath.IsLocal(name) {
		return nil, refuse("is not inside the project")
	}
	path, err := t.resolve(name)
	if err != nil {
		return nil, err
	}
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return &File{Name: name, path: path}, nil
	}
	if err != nil {
		return nil, fault.Wrap(fault.Usage, err, fmt.Sprintf("cannot read %s: %v", name, errors.Unwrap(err)))
	}
	switch {
	case !info.Mode().IsRegular():
		return nil, refuse("is not a file")
	case info.Size() > maxFile:
		return nil, refuse(fmt.Sprintf("is larger than %d MiB", maxFile>>20))
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fault.Wrap(fault.Usage, err, fmt.Sprintf("cannot read %s: %v", name, errors.Unwrap(err)))
	}
	if !utf8.Valid(data) || bytes.IndexByte(data, 0) >= 0 {
		return nil, refuse("is not UTF-8 text", "save it as UTF-8; PowerShell's > writes UTF-16")
	}
	return &File{Name: name, Old: data, New: data, path: path, info: info}, nil
}

// resolve follows links, and says where a file lies that may not be there yet.
func (t *Tree) resolve(name string) (string, error) {
	path := filepath.Join(t.dir, name)
	real, err := filepath.EvalSymlinks(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if _, lerr := os.Lstat(path); lerr == nil {
			return "", fault.New(fault.Usage, name+" is a link to a file that does not exist", "remove the link, or make the file")
		}
		// The folder it shall lie in may be a link, too.
		parent := filepath.Dir(name)
		if parent == "." {
			return path, nil
		}
		inside, err := t.resolve(parent)
		return filepath.Join(inside, filepath.Base(name)), err
	case err != nil:
		return "", fault.Wrap(fault.Usage, err, fmt.Sprintf("cannot read %s: %v", name, err))
	}
	rel, err := filepath.Rel(t.dir, real)
	if err != nil || !filepath.IsLocal(rel) {
		return "", fault.New(fault.Usage, fmt.Sprintf("%s is a link that leaves the project: it leads to %s", name, real),
			"edit the file where it lies, or put a copy in place of the link")
	}
	return real, nil
}
