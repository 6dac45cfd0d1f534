package audit

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/airlock-secrets/airlock/internal/fault"
)

func TestFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	line := Line{
		Time: time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC), Via: Unix, Peer: &Peer{UID: 1, GID: 2, PID: 3, Exe: "/bin/x"}, Kind: "variable", ID: "a\n\"b\"", Team: "t",
		Secret: "s", Vault: "v", Outcome: "found", Source: "cache", Age: 1.5, DAG: "d", Task: "k",
	}
	for range 2 { // a restart appends
		l, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		var wait sync.WaitGroup
		for range 50 {
			wait.Go(func() {
				if err := l.Write(line); err != nil {
					t.Error(err)
				}
			})
		}
		wait.Wait()
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(string(raw), "\n"), "\n")
	if len(lines) != 100 {
		t.Errorf("%d lines", len(lines))
	}
	for _, text := range lines {
		var got Line
		if err := json.Unmarshal([]byte(text), &got); err != nil || !cmp.Equal(got, line) {
			t.Fatalf("%s: %v", text, err)
		}
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if err := os.Symlink(path, path+".link"); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{path + ".link", filepath.Join(path, "x"), filepath.Dir(path)} {
		if _, err := Open(bad); !fault.Is(err, fault.Usage) {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

func TestMove(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	l, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	write := func(id string) {
		if err := l.Write(Line{ID: id}); err != nil {
			t.Error(err)
		}
	}
	write("one")
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	write("two")
	if err := l.Move(path); err != nil {
		t.Fatal(err)
	}
	write("three")
	if err := l.Move(filepath.Dir(path)); !fault.Is(err, fault.Usage) {
		t.Errorf("a folder: %v", err)
	}
	write("four")
	for file, want := range map[string]int{path + ".1": 2, path: 2} {
		if raw, err := os.ReadFile(file); err != nil || strings.Count(string(raw), "\n") != want {
			t.Errorf("%s: %s, %v", file, raw, err)
		}
	}
}

// full is a disk that takes so many bytes more.
type full struct {
	bytes.Buffer
	room int
}

func (f *full) Write(p []byte) (int, error) {
	n := min(f.room, len(p))
	f.room -= n
	f.Buffer.Write(p[:n])
	if n < len(p) {
		return n, errors.New("no space left on device")
	}
	return n, nil
}

func TestFullDisk(t *testing.T) {
	disk := &full{room: 20}
	l := New(disk)
	for range 2 {
		if err := l.Write(Line{ID: "lost"}); !fault.Is(err, fault.Unavailable) {
			t.Errorf("on a full disk: %v", err)
		}
	}
	disk.room = 10_000
	for range 2 {
		if err := l.Write(Line{ID: "kept"}); err != nil {
			t.Error(err)
		}
	}
	torn, err := disk.ReadString('\n')
	if err != nil || len(torn) != 21 {
		t.Errorf("%q, %v", torn, err)
	}
	decoder := json.NewDecoder(&disk.Buffer)
	for range 2 {
		var line Line
		if err := decoder.Decode(&line); err != nil || line.ID != "kept" {
			t.Errorf("%+v, %v", line, err)
		}
	}
	if err := decoder.Decode(&Line{}); !errors.Is(err, io.EOF) {
		t.Errorf("more than was written: %v", err)
	}
}
