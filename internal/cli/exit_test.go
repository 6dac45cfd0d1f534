package cli

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/airlock-secrets/airlock/internal/fault"
)

func TestEachKindHasItsExitCode(t *testing.T) {
	seen := map[int]bool{exitFound: true, exitBroken: true}
	for _, kind := range fault.Kinds() {
		code := exitCode(fault.New(kind, "x"))
		if code == 0 || seen[code] {
			t.Errorf("%v has code %d, which is another's", kind, code)
		}
		seen[code] = true
	}
	if exitCode(nil) != 0 || exitCode(errors.New("foreign")) != 1 {
		t.Error("success or an unknown failure")
	}
}

func TestPrintError(t *testing.T) {
	var out bytes.Buffer
	printError(&out, errors.Join(fault.New(fault.Usage, "one", "do this"), fmt.Errorf("two: %w", fault.New(fault.Usage, "three", "do this", "or that"))))
	want := "airlock: error: one\nairlock: error: two: three\nairlock: hint: do this\nairlock: hint: or that\n"
	if out.String() != want {
		t.Errorf("printed %q", out.String())
	}
}
