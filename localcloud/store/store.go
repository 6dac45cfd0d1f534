// Package store keeps the secrets of the local cloud's vaults. It knows names, versions and deletions, and nothing of
// HTTP, permissions or Key Vault's rules; those belong to package keyvault.
//
// There are two implementations: [NewMemory] for tests, and [OpenFile], one database file whose commits are on the disk
// when they return. Package storetest holds the suite that both pass.
package store

import "strings"

// Secret is a name in a vault, active or soft-deleted.
type Secret struct {
	Name     string    `json:"name"`               // in the letter case first used; names that differ only in case are one
	Current  string    `json:"current"`            // id of the version that a read without a version gets
	Deletion *Deletion `json:"deletion,omitempty"` // nil: active
}

// Deletion says since when a secret is deleted and when it will be purged, in Unix seconds.
type Deletion struct {
	At    int64 `json:"at"`
	Purge int64 `json:"purge"`
}

// Version is one value of a secret with its properties. Times are Unix seconds.
type Version struct {
	ID          string            `json:"id"` // 32 lower-case hexadecimal digits
	Value       string            `json:"value"`
	ContentType string            `json:"contentType,omitempty"` // "": none
	Tags        map[string]string `json:"tags,omitempty"`        // never changed in place
	Enabled     bool              `json:"enabled"`
	Managed     bool              `json:"managed,omitempty"` // belongs to a certificate
	NotBefore   *int64            `json:"nbf,omitempty"`     // nil: not set
	Expires     *int64            `json:"exp,omitempty"`     // nil: not set
	Created     int64             `json:"created"`
	Updated     int64             `json:"updated"`
}

// Store is a set of vaults, each by its host name. A vault that was never written to is empty. Methods are safe for
// concurrent use.
type Store interface {
	// View runs fn on an unchanging picture of the vault.
	View(vault string, fn func(Reader) error) error
	// Update runs fn, one Update at a time. What fn wrote is kept, durably where the store is durable, if both fn and
	// Update return nil; otherwise nothing of it is.
	Update(vault string, fn func(Writer) error) error
	Documents
	Close() error
}

// Documents keeps what the services beside Key Vault hold: whole documents, each by a collection and a key. They are few
// and small, so that a service reads a collection once and writes a document anew with each change.
type Documents interface {
	// Documents gives a collection by key; one that was never written to is empty. The caller may change the map, and not
	// what it points to.
	Documents(collection string) (map[string][]byte, error)
	// PutDocument writes a document over the one there was, durably where the store is durable. It keeps its own copy.
	PutDocument(collection, key string, document []byte) error
	// DropDocument forgets a document. An unknown one is no error.
	DropDocument(collection, key string) error
}

// Reader reads one vault. The results are the store's own: a caller must not change what they point to, and may keep
// them after the transaction.
type Reader interface {
	// Secret looks a name up in any letter case. The bool is false when there is none.
	Secret(name string) (Secret, bool, error)
	// Version looks one version up. The bool is false when there is none.
	Version(name, id string) (Version, bool, error)
	// Secrets lists at most limit names that sort behind after, active and deleted, ordered without regard to case.
	Secrets(after string, limit int) ([]Secret, error)
	// Versions lists at most limit versions with ids that sort behind after, ordered by id. An unknown name has none.
	Versions(name, after string, limit int) ([]Version, error)
}

// Writer reads and changes one vault. A Writer sees its own changes.
type Writer interface {
	Reader
	// PutSecret writes the record of a name over the one there was.
	PutSecret(Secret) error
	// PutVersion writes one version over the one with the same id, if there was one.
	PutVersion(name string, v Version) error
	// Drop forgets a name with all its versions. An unknown name is no error.
	Drop(name string) error
}

// Fold gives the form of a name under which all its letter cases are one.
func Fold(name string) string { return strings.ToLower(name) }
