package cli

import "golang.org/x/sys/unix"

// tty(4)
const getTermios, setTermios = unix.TIOCGETA, unix.TIOCSETA
