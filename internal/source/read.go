package source

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/airlock-secrets/airlock/internal/fault"
)

// MaxBytes bounds a file: 10,000 secrets of the largest size, and as much again.
const MaxBytes = 512 << 20

// Read reads a whole file. One that changes meanwhile is an error: half of the old and half of the new would be neither.
func Read(path string) ([]byte, error) { return read(path, ReadAll) }

// ReadAll reads a stream to its end, up to MaxBytes.
func ReadAll(r io.Reader) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, MaxBytes+1))
	if err == nil && len(data) > MaxBytes {
		err = fault.New(fault.Usage, fmt.Sprintf("more than %d MiB", MaxBytes>>20))
	}
	return data, err
}

func read(path string, all func(io.Reader) ([]byte, error)) ([]byte, error) {
	refuse := func(err error) ([]byte, error) {
		if broken, ok := errors.AsType[*fs.PathError](err); ok {
			err = broken.Err
		}
		return nil, fault.Wrap(fault.Usage, err, fmt.Sprintf("cannot read %s: %v", path, err))
	}
	file, err := os.Open(path)
	if err != nil {
		return refuse(err)
	}
	defer func() { _ = file.Close() }()
	before, err := file.Stat()
	if err != nil {
		return refuse(err)
	}
	data, err := all(file)
	if err != nil {
		return refuse(err)
	}
	if !before.Mode().IsRegular() {
		return data, nil // a pipe gives what it gives
	}
	after, err := os.Stat(path)
	if err != nil || !os.SameFile(before, after) || !after.ModTime().Equal(before.ModTime()) || after.Size() != before.Size() ||
		int64(len(data)) != before.Size() {
		return nil, fault.New(fault.Usage, fmt.Sprintf("%s changed while it was read", path), "try again when whoever writes it is done")
	}
	return data, nil
}
