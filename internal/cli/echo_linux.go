package cli

import "golang.org/x/sys/unix"

// ioctl_tty(2)
const getTermios, setTermios = unix.TCGETS, unix.TCSETS
