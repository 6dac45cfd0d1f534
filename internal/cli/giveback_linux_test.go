package cli

import (
	"os"
	"strconv"
	"strings"
	"testing"
)

// TestGiveBack: a good part of the program leaves the memory, and the program runs on.
func TestGiveBack(t *testing.T) {
	resident := func() int {
		status, err := os.ReadFile("/proc/self/status")
		if err != nil {
			t.Fatal(err)
		}
		_, rest, _ := strings.Cut(string(status), "RssFile:")
		kib, err := strconv.Atoi(strings.Fields(rest)[0])
		if err != nil {
			t.Fatal(err)
		}
		return kib
	}
	before := resident()
	if err := giveBack(); err != nil {
		t.Fatal(err)
	}
	after := resident()
	t.Logf("%d KiB of files before, %d after", before, after)
	if after > before*3/4 {
		t.Errorf("%d KiB of files before, %d after", before, after)
	}
}
