//go:build !linux

package cli

import "golang.org/x/sys/unix"

// harden keeps the secrets of this process out of core dumps.
func harden() error { return unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}) }
