package cli

import (
	"bufio"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// giveBack takes the program's file out of this process's memory. Most of what was read of it served what is over: the start
// with its commands and parsers, or the SDK on the way to the vault. The kernel brings back what is needed, page by page and from its own cache as a rule. Only what
// is the file's word for word is given back: see MADV_DONTNEED in madvise(2), and smaps in proc(5).
func giveBack() error {
	program, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return err
	}
	smaps, err := os.Open("/proc/self/smaps")
	if err != nil {
		return err
	}
	defer smaps.Close()
	var of struct{ from, to uintptr } // the mapping that the lines tell of; empty: one to be left alone
	lines := bufio.NewScanner(smaps)
	for lines.Scan() {
		line := lines.Text()
		var from, to uintptr
		var may string
		if n, _ := fmt.Sscanf(line, "%x-%x %s", &from, &to, &may); n == 3 {
			of.from, of.to = from, to
			if !strings.HasSuffix(line, " "+program) || strings.Contains(may, "w") {
				of.to = from
			}
			continue
		}
		name, size, _ := strings.Cut(line, ":")
		if name != "Anonymous" || strings.TrimSpace(size) != "0 kB" || of.from == of.to {
			continue
		}
		if _, _, errno := unix.Syscall(unix.SYS_MADVISE, of.from, of.to-of.from, unix.MADV_DONTNEED); errno != 0 {
			return errno
		}
	}
	return lines.Err()
}
