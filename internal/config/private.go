package config

import (
	"fmt"
	"io/fs"
	"os"
	"slices"
	"syscall"
)

// openness is what users that the agent does not trust can do with a file; "" is nothing.
type openness struct{ readable, writable string }

// opennessOf looks at a file's mode. A group may read or write it when the agent is in that group: so a file that root
// keeps for a service is private, and so is one in a volume of Kubernetes with an fsGroup.
func opennessOf(info fs.FileInfo) openness {
	mode := info.Mode().Perm()
	stranger := mode & 0o007
	if stat, ok := info.Sys().(*syscall.Stat_t); ok && !ownGroup(int(stat.Gid)) {
		stranger |= mode & 0o070 >> 3
	}
	var open openness
	if stranger&0o4 != 0 {
		open.readable = fmt.Sprintf("can be read by other users (mode %04o)", mode)
	}
	if stranger&0o2 != 0 {
		open.writable = fmt.Sprintf("can be changed by other users (mode %04o)", mode)
	}
	return open
}

func ownGroup(gid int) bool {
	more, _ := os.Getgroups() // without it the first group is all that is known
	return gid == os.Getegid() || slices.Contains(more, gid)
}
