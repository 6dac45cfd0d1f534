package store_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/airlock-secrets/airlock/localcloud/store"
	"github.com/airlock-secrets/airlock/localcloud/store/storetest"
)

func TestMemory(t *testing.T) {
	storetest.Run(t, func(*testing.T) store.Store { return store.NewMemory() })
}

func TestFile(t *testing.T) {
	storetest.Run(t, func(t *testing.T) store.Store { return openFile(t, filepath.Join(t.TempDir(), "secrets.db")) })
}

func openFile(t *testing.T, path string) store.Store {
	t.Helper()
	s, err := store.OpenFile(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func TestFileKeepsAcrossReopening(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secrets.db")
	s := openFile(t, path)
	err := s.Update("v", func(w store.Writer) error { return w.PutSecret(store.Secret{Name: "A", Current: "1"}) })
	if err != nil {
		t.Fatal(err)
	}
	if _, err := store.OpenFile(path); !errors.Is(err, store.ErrInUse) {
		t.Errorf("a second opening: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	err = openFile(t, path).View("v", func(r store.Reader) error {
		got, found, err := r.Secret("a")
		if !found || got.Name != "A" {
			t.Errorf("got %+v, %v", got, found)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestCollection(t *testing.T) {
	type record struct{ Value string }
	s := store.NewMemory()
	c := store.Collection[record]{In: s, Name: "c"}
	if all, err := c.Get(); err != nil || all == nil || len(all) > 0 {
		t.Errorf("before: %v, %v", all, err)
	}
	for _, value := range []string{"old", "new"} {
		if err := errors.Join(c.Put("a", &record{value}), c.Put("b", &record{value})); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(c.Drop("b"), c.Drop("unknown")); err != nil {
		t.Fatal(err)
	}
	if all, err := c.Get(); err != nil || len(all) != 1 || all["a"].Value != "new" {
		t.Errorf("after: %v, %v", all, err)
	}
	if err := s.PutDocument("c", "broken", []byte(`{"Value": ["canary"]}`)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Get(); err == nil || !strings.HasSuffix(err.Error(), "does not decode: broken") || strings.Contains(err.Error(), "canary") {
		t.Error(err)
	}
}
