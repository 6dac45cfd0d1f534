// Package storetest is the suite that every store.Store passes.
package storetest

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/airlock-secrets/airlock/localcloud/store"
)

const vault = "one.vault.azure.net"

// Run tries the stores that open returns; each call of open must give an empty one that closes itself with the test.
func Run(t *testing.T, open func(t *testing.T) store.Store) {
	for _, row := range []struct {
		name string
		run  func(t *testing.T, s store.Store)
	}{
		{"an empty vault", empty},
		{"a secret and its versions", roundTrip},
		{"names in any letter case", letterCase},
		{"pages in order", pages},
		{"names that begin alike", neighbours},
		{"drop", drop},
		{"a failed update leaves nothing", rollback},
		{"a panic leaves nothing", panics},
		{"vaults are apart", apart},
		{"writers and readers at once", concurrent},
		{"documents", documents},
	} {
		t.Run(row.name, func(t *testing.T) { row.run(t, open(t)) })
	}
}

func empty(t *testing.T, s store.Store) {
	view(t, s, func(r store.Reader) {
		if _, found := secret(t, r, "a"); found {
			t.Error("a secret in an empty vault")
		}
		if _, found := version(t, r, "a", id(1)); found {
			t.Error("a version in an empty vault")
		}
		wantNames(t, r, "", 10)
		wantIDs(t, r, "a", "", 10)
	})
	update(t, s, func(w store.Writer) {
		if err := w.Drop("a"); err != nil {
			t.Errorf("drop of an unknown name: %v", err)
		}
		if err := w.PutVersion("a", store.Version{ID: id(1)}); err == nil {
			t.Error("a version without its secret was taken")
		}
	})
}

func roundTrip(t *testing.T, s store.Store) {
	nbf, exp := int64(100), int64(200)
	first := store.Version{
		ID: id(1), Value: "grün\x00\n", ContentType: "text/plain", Tags: map[string]string{"a": "1"}, Enabled: true,
		NotBefore: &nbf, Expires: &exp, Created: 5, Updated: 6,
	}
	second := store.Version{ID: id(2)}
	record := store.Secret{Name: "a", Current: id(2), Deletion: &store.Deletion{At: 7, Purge: 8}}
	update(t, s, func(w store.Writer) {
		must(t, w.PutSecret(store.Secret{Name: "a", Current: id(1)}))
		must(t, w.PutVersion("a", first))
		must(t, w.PutVersion("a", second))
		must(t, w.PutSecret(record))
		if got, _ := secret(t, w, "a"); !cmp.Equal(got, record) {
			t.Error("an update does not see what it wrote")
		}
	})
	view(t, s, func(r store.Reader) {
		if got, found := secret(t, r, "a"); !found || !cmp.Equal(got, record) {
			t.Errorf("secret: %s", cmp.Diff(record, got))
		}
		for _, want := range []store.Version{first, second} {
			if got, found := version(t, r, "a", want.ID); !found || !cmp.Equal(got, want) {
				t.Errorf("version: %s", cmp.Diff(want, got))
			}
		}
	})
	first.Value = "changed"
	update(t, s, func(w store.Writer) { must(t, w.PutVersion("a", first)) })
	view(t, s, func(r store.Reader) {
		if got, _ := version(t, r, "a", id(1)); got.Value != "changed" {
			t.Error("a version was not overwritten")
		}
		wantIDs(t, r, "a", "", 10, id(1), id(2))
	})
}

func letterCase(t *testing.T, s store.Store) {
	add(t, s, "My-Name", id(1))
	view(t, s, func(r store.Reader) {
		if got, found := secret(t, r, "mY-nAME"); !found || got.Name != "My-Name" {
			t.Errorf("got %q, %v", got.Name, found)
		}
		if _, found := version(t, r, "MY-NAME", id(1)); !found {
			t.Error("the version is not found by another letter case")
		}
		wantIDs(t, r, "my-name", "", 10, id(1))
	})
}

func pages(t *testing.T, s store.Store) {
	for _, name := range []string{"b", "A", "0", "C", "a-", "D"} {
		add(t, s, name, id(3), id(1), id(2))
	}
	view(t, s, func(r store.Reader) {
		wantNames(t, r, "", 10, "0", "A", "a-", "b", "C", "D")
		wantNames(t, r, "", 2, "0", "A")
		wantNames(t, r, "a", 2, "a-", "b")
		wantNames(t, r, "B", 2, "C", "D")
		wantNames(t, r, "aa", 1, "b") // a name that is not there
		wantNames(t, r, "d", 2)
		wantIDs(t, r, "b", "", 10, id(1), id(2), id(3))
		wantIDs(t, r, "b", id(1), 1, id(2))
		wantIDs(t, r, "b", id(3), 1)
	})
}

func neighbours(t *testing.T, s store.Store) {
	add(t, s, "a", id(1))
	add(t, s, "a-b", id(2))
	add(t, s, "ab", id(3))
	view(t, s, func(r store.Reader) { wantIDs(t, r, "a", "", 10, id(1)) })
	update(t, s, func(w store.Writer) { must(t, w.Drop("a")) })
	view(t, s, func(r store.Reader) {
		wantNames(t, r, "", 10, "a-b", "ab")
		wantIDs(t, r, "a-b", "", 10, id(2))
		wantIDs(t, r, "ab", "", 10, id(3))
	})
}

func drop(t *testing.T, s store.Store) {
	add(t, s, "a", id(1), id(2), id(3))
	update(t, s, func(w store.Writer) { must(t, w.Drop("A")) })
	view(t, s, func(r store.Reader) {
		wantNames(t, r, "", 10)
		wantIDs(t, r, "a", "", 10)
	})
	add(t, s, "a", id(4))
	view(t, s, func(r store.Reader) { wantIDs(t, r, "a", "", 10, id(4)) })
}

// spoil does one of everything, for the tests that take it back.
func spoil(t *testing.T, w store.Writer) {
	must(t, w.PutSecret(store.Secret{Name: "a", Current: id(9)}))
	must(t, w.PutVersion("a", store.Version{ID: id(1), Value: "spoilt"}))
	must(t, w.PutVersion("a", store.Version{ID: id(9)}))
	must(t, w.Drop("b"))
	must(t, w.PutSecret(store.Secret{Name: "B"}))
	must(t, w.PutSecret(store.Secret{Name: "c"}))
	must(t, w.PutVersion("c", store.Version{ID: id(1)}))
}

func wantUnspoilt(t *testing.T, s store.Store) {
	t.Helper()
	view(t, s, func(r store.Reader) {
		wantNames(t, r, "", 10, "a", "b")
		wantIDs(t, r, "a", "", 10, id(1))
		wantIDs(t, r, "b", "", 10, id(2))
		wantIDs(t, r, "c", "", 10)
		if got, _ := secret(t, r, "a"); got.Current != id(1) {
			t.Errorf("current = %s", got.Current)
		}
		if got, _ := version(t, r, "a", id(1)); got.Value == "spoilt" {
			t.Error("a value of the failed update was kept")
		}
	})
}

func rollback(t *testing.T, s store.Store) {
	add(t, s, "a", id(1))
	add(t, s, "b", id(2))
	cause := errors.New("no")
	if err := s.Update(vault, func(w store.Writer) error { spoil(t, w); return cause }); !errors.Is(err, cause) {
		t.Fatalf("err = %v", err)
	}
	wantUnspoilt(t, s)
}

func panics(t *testing.T, s store.Store) {
	add(t, s, "a", id(1))
	add(t, s, "b", id(2))
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic was swallowed")
			}
		}()
		_ = s.Update(vault, func(w store.Writer) error { spoil(t, w); panic("on purpose") })
	}()
	wantUnspoilt(t, s)
}

func apart(t *testing.T, s store.Store) {
	add(t, s, "a", id(1))
	if err := s.View("two.vault.azure.net", func(r store.Reader) error { wantNames(t, r, "", 10); return nil }); err != nil {
		t.Fatal(err)
	}
}

func concurrent(t *testing.T, s store.Store) {
	const writers, each = 4, 20
	var wg sync.WaitGroup
	for n := range writers {
		wg.Go(func() {
			for i := range each {
				err := s.Update(vault, func(w store.Writer) error {
					version := id(n*each + i)
					if err := w.PutSecret(store.Secret{Name: "shared", Current: version}); err != nil {
						return err
					}
					return w.PutVersion("shared", store.Version{ID: version})
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
		wg.Go(func() {
			for range each {
				err := s.View(vault, func(r store.Reader) error {
					record, found, err := r.Secret("shared")
					if err != nil || !found {
						return err
					}
					if _, found, err = r.Version("shared", record.Current); !found {
						t.Error("half an update is visible")
					}
					return err
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	view(t, s, func(r store.Reader) {
		all, err := r.Versions("shared", "", 1000)
		if err != nil || len(all) != writers*each {
			t.Errorf("%d versions, %v", len(all), err)
		}
	})
}

func id(n int) string { return fmt.Sprintf("%032x", n) }

func add(t *testing.T, s store.Store, name string, ids ...string) {
	t.Helper()
	update(t, s, func(w store.Writer) {
		for _, id := range ids {
			must(t, w.PutSecret(store.Secret{Name: name, Current: id}))
			must(t, w.PutVersion(name, store.Version{ID: id, Value: name}))
		}
	})
}

func view(t *testing.T, s store.Store, fn func(store.Reader)) {
	t.Helper()
	must(t, s.View(vault, func(r store.Reader) error { fn(r); return nil }))
}

func update(t *testing.T, s store.Store, fn func(store.Writer)) {
	t.Helper()
	must(t, s.Update(vault, func(w store.Writer) error { fn(w); return nil }))
}

func secret(t *testing.T, r store.Reader, name string) (store.Secret, bool) {
	t.Helper()
	got, found, err := r.Secret(name)
	must(t, err)
	return got, found
}

func version(t *testing.T, r store.Reader, name, id string) (store.Version, bool) {
	t.Helper()
	got, found, err := r.Version(name, id)
	must(t, err)
	return got, found
}

func wantNames(t *testing.T, r store.Reader, after string, limit int, want ...string) {
	t.Helper()
	page, err := r.Secrets(after, limit)
	must(t, err)
	var got []string
	for _, s := range page {
		got = append(got, s.Name)
	}
	if !cmp.Equal(got, want) {
		t.Errorf("names behind %q: %v, want %v", after, got, want)
	}
}

func wantIDs(t *testing.T, r store.Reader, name, after string, limit int, want ...string) {
	t.Helper()
	page, err := r.Versions(name, after, limit)
	must(t, err)
	var got []string
	for _, v := range page {
		got = append(got, v.ID)
	}
	if !cmp.Equal(got, want) {
		t.Errorf("versions of %s behind %q: %v, want %v", name, after, got, want)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func documents(t *testing.T, s store.Store) {
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	want := func(collection string, want map[string]string) {
		t.Helper()
		all, err := s.Documents(collection)
		check(err)
		got := map[string]string{}
		for key, document := range all {
			got[key] = string(document)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("collection %s: %s", collection, diff)
		}
	}
	want("one", map[string]string{})
	check(s.DropDocument("one", "a"))
	mine := []byte("first")
	check(s.PutDocument("one", "a", mine))
	mine[0] = 'X'
	check(s.PutDocument("one", "b", []byte("second")))
	check(s.PutDocument("two", "a", []byte("other")))
	want("one", map[string]string{"a": "first", "b": "second"})
	check(s.PutDocument("one", "a", []byte("third")))
	check(s.DropDocument("one", "b"))
	want("one", map[string]string{"a": "third"})
	want("two", map[string]string{"a": "other"})
	view(t, s, func(r store.Reader) { wantNames(t, r, "", 10) }) // no vault has them
}
