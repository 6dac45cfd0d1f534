package cli

import (
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"testing"
)

// maxInit is what a package of ours may allocate before main begins, in bytes. Every command pays for it, and an agent keeps
// a part of it for good: a regexp that counts to 256 was 10 MB once.
const maxInit = 512 << 10

// TestInit reads what Go says of the packages' beginnings (GODEBUG=inittrace=1, package runtime). All of the program is in
// this test, too.
func TestInit(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	begin := exec.Command(self, "-test.run=^$")
	begin.Env = append(os.Environ(), "GODEBUG=inittrace=1")
	said, err := begin.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, said)
	}
	lines := regexp.MustCompile(`(?m)^init (github\.com/airlock-secrets/airlock/\S+) .* (\d+) bytes, `).FindAllSubmatch(said, -1)
	if len(lines) == 0 {
		t.Fatalf("no package of ours in %s", said)
	}
	for _, line := range lines {
		if n, err := strconv.Atoi(string(line[2])); err != nil || n > maxInit {
			t.Errorf("%s allocates %d bytes before main, %v", line[1], n, err)
		}
	}
}
