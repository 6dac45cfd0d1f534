package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/airlock-secrets/airlock/internal/fault"
)

// devDir is where a folder's dev keeps its state.
const devDir = ".airlock"

// devState is what a running dev tells the other commands of its folder. It lies in a private file, because the
// environment holds the local app's secret.
type devState struct {
	PID     int               `json:"pid"`
	Started time.Time         `json:"started"`
	Env     map[string]string `json:"env"`
	// Unset are variables that must not reach a command from the user's shell: they would log in somewhere else.
	Unset []string `json:"unset"`
	// Tokens sign in to the local Astro and GitHub. They are for commands that run inside dev, and only on demand for a
	// shell, where they would be in the way of the real ones after dev's end.
	Tokens map[string]string `json:"tokens"`
}

// folder is the private folder of a dev, locked for as long as it runs.
type folder struct {
	path string
	lock *os.File
}

// lockFolder makes the folder and takes its lock; there is one dev in a folder.
func (a *app) lockFolder() (*folder, error) {
	path := filepath.Join(a.env.Dir, devDir)
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fault.Wrap(fault.Usage, err, "cannot make the folder for dev's state: "+err.Error())
	}
	if err := writeFile(filepath.Join(path, ".gitignore"), []byte("*\n")); err != nil {
		return nil, err
	}
	lock, err := os.OpenFile(filepath.Join(path, "dev.lock"), os.O_CREATE|os.O_RDWR|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fault.Wrap(fault.Usage, err, "cannot open dev's lock: "+err.Error())
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = lock.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fault.New(fault.Usage, "a dev is running in this folder already",
				"use it: airlock dev run -- CMD, or any command with --dev", "or stop it, with Ctrl-C where it runs")
		}
		return nil, fault.Wrap(fault.Internal, err, "cannot lock dev's folder")
	}
	return &folder{path: path, lock: lock}, nil
}

func (f *folder) stateFile() string { return filepath.Join(f.path, "dev.json") }

// announce writes the state down for the other commands.
func (f *folder) announce(state devState) error {
	raw, err := json.MarshalIndent(state, "", "  ")
	if err != nil {
		return err
	}
	return writeFile(f.stateFile(), raw)
}

func (f *folder) close() {
	_ = os.Remove(f.stateFile())
	_ = f.lock.Close()
}

// runningDev reads the state of the dev that runs in this folder.
func (a *app) runningDev() (devState, error) {
	f := folder{path: filepath.Join(a.env.Dir, devDir)}
	none := fault.New(fault.Unavailable, "no dev is running in this folder", "start one with: airlock dev")
	lock, err := os.OpenFile(filepath.Join(f.path, "dev.lock"), os.O_RDWR, 0)
	if err != nil {
		return devState{}, none
	}
	defer lock.Close()
	// Whoever can share the lock knows that no dev holds it.
	if unix.Flock(int(lock.Fd()), unix.LOCK_SH|unix.LOCK_NB) == nil {
		return devState{}, none
	}
	raw, err := os.ReadFile(f.stateFile())
	for begun := time.Now(); errors.Is(err, os.ErrNotExist); raw, err = os.ReadFile(f.stateFile()) {
		// It is starting, or stopping.
		if a.env.Context.Err() != nil || time.Since(begun) > 5*time.Second {
			return devState{}, fault.New(fault.Unavailable, "the dev in this folder is not ready yet", "try again in a moment")
		}
		time.Sleep(10 * time.Millisecond)
		if unix.Flock(int(lock.Fd()), unix.LOCK_SH|unix.LOCK_NB) == nil {
			return devState{}, none
		}
	}
	var state devState
	if err == nil {
		err = json.Unmarshal(raw, &state)
	}
	if err != nil {
		return devState{}, fault.Wrap(fault.Internal, err, fmt.Sprintf("cannot read %s", f.stateFile()))
	}
	return state, nil
}

// writeFile puts a private file in place in one step, so that nobody sees half of it.
func writeFile(path string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*") // mode 0600
	if err != nil {
		return fault.Wrap(fault.Usage, err, "cannot write: "+err.Error())
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return fault.Wrap(fault.Usage, err, "cannot write: "+err.Error())
	}
	return nil
}
