package cli

import (
	"errors"

	"golang.org/x/sys/unix"
)

// harden keeps the secrets of this process out of core dumps, and its memory away from other processes of its user: a
// process that is not dumpable cannot be traced. See prctl(2), PR_SET_DUMPABLE.
func harden() error {
	return errors.Join(
		unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0),
		unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}),
	)
}
