package peer

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// groupsOf asks for SO_PEERGROUPS, for which x/sys has no func: the kernel fills in numbers of 32 bits, or says ERANGE and
// how many bytes they take (net/core/sock.c, sk_getsockopt).
func groupsOf(fd int) []uint32 {
	const width = uint32(unsafe.Sizeof(uint32(0)))
	groups := make([]uint32, 16)
	for range 2 {
		size := uint32(len(groups)) * width
		_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_PEERGROUPS,
			uintptr(unsafe.Pointer(unsafe.SliceData(groups))), uintptr(unsafe.Pointer(&size)), 0)
		switch errno {
		case 0:
			return groups[:size/width]
		case unix.ERANGE:
			groups = make([]uint32, size/width)
		default:
			return nil
		}
	}
	return nil
}
