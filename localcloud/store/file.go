package store

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

// ErrInUse means that another process holds the database.
var ErrInUse = errors.New("the database is in use by another process")

var errNoSecret = errors.New("version of a secret that has no record")

// One bucket a vault holds two more: records by folded name, and versions by folded name, a slash and the version's id.
// Names hold no slash, so the versions of one name lie side by side in the order of their ids.
var (
	recordsBucket  = []byte("secrets")
	versionsBucket = []byte("versions")
)

// OpenFile opens or makes the database at path, readable by its owner only. One process can have it open; the second
// gets an error that is [ErrInUse]. Each Update is on the disk when it returns.
func OpenFile(path string) (Store, error) {
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: 500 * time.Millisecond})
	if errors.Is(err, berrors.ErrTimeout) {
		return nil, fmt.Errorf("%s: %w", path, ErrInUse)
	}
	if err != nil {
		return nil, fmt.Errorf("open the database %s: %w", path, err)
	}
	return &file{db: db}, nil
}

type file struct{ db *bbolt.DB }

func (f *file) View(vault string, fn func(Reader) error) error {
	return f.db.View(func(tx *bbolt.Tx) error {
		root := tx.Bucket([]byte(vault))
		if root == nil {
			return fn(&memoryVault{}) // never written to: empty
		}
		return fn(fileVault{records: root.Bucket(recordsBucket), versions: root.Bucket(versionsBucket)})
	})
}

func (f *file) Update(vault string, fn func(Writer) error) error {
	return f.db.Update(func(tx *bbolt.Tx) error {
		root, err := tx.CreateBucketIfNotExists([]byte(vault))
		if err != nil {
			return err
		}
		var v fileVault
		if v.records, err = root.CreateBucketIfNotExists(recordsBucket); err != nil {
			return err
		}
		if v.versions, err = root.CreateBucketIfNotExists(versionsBucket); err != nil {
			return err
		}
		return fn(v)
	})
}

func (f *file) Close() error { return f.db.Close() }

// documentsBucket is the bucket of a collection. Hosts of vaults hold no slash, so that it is none of theirs.
func documentsBucket(collection string) []byte { return []byte("documents/" + collection) }

func (f *file) Documents(collection string) (map[string][]byte, error) {
	all := map[string][]byte{}
	err := f.db.View(func(tx *bbolt.Tx) error {
		b := tx.Bucket(documentsBucket(collection))
		if b == nil {
			return nil
		}
		return b.ForEach(func(key, document []byte) error {
			all[string(key)] = bytes.Clone(document) // bbolt's own bytes end with the transaction
			return nil
		})
	})
	return all, err
}

func (f *file) PutDocument(collection, key string, document []byte) error {
	return f.db.Update(func(tx *bbolt.Tx) error {
		b, err := tx.CreateBucketIfNotExists(documentsBucket(collection))
		if err != nil {
			return err
		}
		return b.Put([]byte(key), document)
	})
}

func (f *file) DropDocument(collection, key string) error {
	return f.db.Update(func(tx *bbolt.Tx) error {
		if b := tx.Bucket(documentsBucket(collection)); b != nil {
			return b.Delete([]byte(key))
		}
		return nil
	})
}

type fileVault struct{ records, versions *bbolt.Bucket }

func recordKey(name string) []byte { return []byte(Fold(name)) }

func versionKey(name, id string) []byte { return []byte(Fold(name) + "/" + id) }

func (v fileVault) Secret(name string) (Secret, bool, error) {
	return decode[Secret](v.records.Get(recordKey(name)))
}

func (v fileVault) Version(name, id string) (Version, bool, error) {
	return decode[Version](v.versions.Get(versionKey(name, id)))
}

// decode reads one record; no bytes are no record.
func decode[T any](raw []byte) (record T, found bool, err error) {
	if raw == nil {
		return record, false, nil
	}
	if err := json.Unmarshal(raw, &record); err != nil {
		// The cause would quote the record, and records hold secrets.
		return record, false, errors.New("the database holds a record that does not decode")
	}
	return record, true, nil
}

func (v fileVault) Secrets(after string, limit int) ([]Secret, error) {
	return scan[Secret](v.records, nil, recordKey(after), limit)
}

func (v fileVault) Versions(name, after string, limit int) ([]Version, error) {
	return scan[Version](v.versions, versionKey(name, ""), versionKey(name, after), limit)
}

// scan reads at most limit records whose keys start with prefix and sort behind after.
func scan[T any](b *bbolt.Bucket, prefix, after []byte, limit int) ([]T, error) {
	var page []T
	cursor := b.Cursor()
	for key, raw := cursor.Seek(after); key != nil && len(page) < limit; key, raw = cursor.Next() {
		if !bytes.HasPrefix(key, prefix) {
			break
		}
		if bytes.Equal(key, after) {
			continue
		}
		record, _, err := decode[T](raw)
		if err != nil {
			return nil, err
		}
		page = append(page, record)
	}
	return page, nil
}

func (v fileVault) PutSecret(s Secret) error { return put(v.records, recordKey(s.Name), s) }

func (v fileVault) PutVersion(name string, version Version) error {
	if v.records.Get(recordKey(name)) == nil {
		return errNoSecret
	}
	return put(v.versions, versionKey(name, version.ID), version)
}

func put(b *bbolt.Bucket, key []byte, record any) error {
	raw, err := json.Marshal(record)
	if err != nil {
		return err
	}
	return b.Put(key, raw)
}

func (v fileVault) Drop(name string) error {
	if err := v.records.Delete(recordKey(name)); err != nil {
		return err
	}
	prefix := versionKey(name, "")
	cursor := v.versions.Cursor()
	// A deletion moves the cursor, so each round seeks anew.
	for key, _ := cursor.Seek(prefix); key != nil && bytes.HasPrefix(key, prefix); key, _ = cursor.Seek(prefix) {
		if err := v.versions.Delete(key); err != nil {
			return err
		}
	}
	return nil
}
