//go:build !linux

package peer

func groupsOf(int) []uint32 { return nil }
