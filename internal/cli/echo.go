package cli

import "golang.org/x/sys/unix"

// echoOff makes a terminal show nothing of what is typed. It is done before a question is asked: who types, or pastes, at
// once would else see the secret, which term.ReadPassword hides only from when it reads.
func echoOff(fd int) error {
	state, err := unix.IoctlGetTermios(fd, getTermios)
	if err != nil {
		return err
	}
	state.Lflag &^= unix.ECHO
	return unix.IoctlSetTermios(fd, setTermios, state)
}
