package peer

import (
	"bytes"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// programOf reads what /proc says of the process at the other end of fd. A process id is given anew once its process is
// gone, and then /proc shows somebody else: so the process is held by a descriptor that the kernel took when it
// connected, and what was read counts only if it still ran afterwards. Kernels before 6.5 have no such descriptor; there
// the process must have begun no later than it connected, and be the same before and after the reading.
func programOf(fd int, pid int32) string {
	if pid <= 0 {
		return "" // the process is in another namespace
	}
	if held, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PEERPIDFD); err == nil {
		defer unix.Close(held)
		return whileAlive(pid, func() bool { return unix.PidfdSendSignal(held, 0, nil, 0) != unix.ESRCH })
	}
	begun, err := startOf(pid)
	var now unix.Timespec
	if err != nil || unix.ClockGettime(unix.CLOCK_BOOTTIME, &now) != nil || begun > uint64(now.Nano()/1e7) {
		return ""
	}
	return whileAlive(pid, func() bool {
		again, err := startOf(pid)
		return err == nil && again == begun
	})
}

// whileAlive reads the program of a process, and forgets it when the process turns out to be another.
func whileAlive(pid int32, same func() bool) string {
	exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
	if err != nil || !same() {
		return ""
	}
	return exe
}

// startOf is when a process began, in hundredths of a second since the machine did: the 22nd field of /proc/PID/stat,
// counted behind the program's name, which may hold anything. See proc_pid_stat(5).
func startOf(pid int32) (uint64, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	const start = 22 - 3 // the first field here is the third
	if len(fields) <= start {
		return 0, fmt.Errorf("the kernel's word on process %d is short", pid)
	}
	return strconv.ParseUint(string(fields[start]), 10, 64)
}
