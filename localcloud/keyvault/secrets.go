package keyvault

import (
	"encoding/hex"
	"strings"

	"github.com/google/uuid"

	"github.com/airlock-secrets/airlock/localcloud/store"
)

// newVersionID makes an id like the service's: 32 lower-case hexadecimal digits.
func newVersionID() string {
	id := uuid.New()
	return hex.EncodeToString(id[:])
}

// find looks a secret up; a deleted one whose time has run out counts as purged.
func find(r store.Reader, name string, now int64) (store.Secret, bool, error) {
	record, found, err := r.Secret(name)
	if err != nil || !found || expired(record, now) {
		return store.Secret{}, false, err
	}
	return record, true, nil
}

// expired says that a deleted secret's time has run out.
func expired(record store.Secret, now int64) bool {
	return record.Deletion != nil && record.Deletion.Purge <= now
}

// active looks up the secret and version of a request: the current version if it names none. A deleted secret is not
// found, nor is one whose recovery is not visible yet.
func (s *Service) active(c *call, r store.Reader) (store.Secret, store.Version, error) {
	record, found, err := find(r, c.name, c.now)
	if err != nil {
		return record, store.Version{}, err
	}
	if !found || record.Deletion != nil || s.visibility.is(c, c.name, beingRecovered) {
		return record, store.Version{}, errSecretNotFound(strings.TrimSuffix(c.name+"/"+c.version, "/"))
	}
	version, err := versionOf(r, record, c.version)
	return record, version, err
}

// versionOf reads a version of a secret that exists.
func versionOf(r store.Reader, record store.Secret, id string) (store.Version, error) {
	wanted := id
	if wanted == "" {
		wanted = record.Current
	}
	version, found, err := r.Version(record.Name, wanted)
	if err == nil && !found {
		err = errSecretNotFound(strings.TrimSuffix(record.Name+"/"+id, "/"))
	}
	return version, err
}

// add gives a secret a new version, and makes the secret if there is none.
func add(w store.Writer, name string, version store.Version, now int64) (store.Secret, error) {
	record, found, err := find(w, name, now)
	if err != nil {
		return record, err
	}
	if !found {
		if err := w.Drop(name); err != nil { // what is left of one whose time has run out
			return record, err
		}
		record = store.Secret{Name: name}
	}
	if record.Deletion != nil {
		return record, errDeletedButRecoverable(name)
	}
	record.Current = version.ID
	if err := w.PutSecret(record); err != nil {
		return record, err
	}
	return record, w.PutVersion(record.Name, version)
}

// setSecret: https://learn.microsoft.com/rest/api/keyvault/secrets/set-secret/set-secret
func (s *Service) setSecret(c *call) (any, error) {
	var p properties
	if err := c.decode(&p); err != nil {
		return nil, err
	}
	if p.Value == nil {
		return nil, errProperty()
	}
	if err := p.check(); err != nil {
		return nil, err
	}
	version := store.Version{ID: newVersionID(), Enabled: true, Created: c.now, Updated: c.now}
	p.apply(&version)
	if s.visibility.is(c, c.name, beingPurged) {
		return nil, errBeingDeleted()
	}
	var answer bundle
	err := s.cfg.Store.Update(c.vault.host, func(w store.Writer) error {
		record, err := add(w, c.name, version, c.now)
		answer = c.vault.bundle(record.Name, version)
		return err
	})
	answer.Value = p.Value
	return answer, err
}

// getSecret: https://learn.microsoft.com/rest/api/keyvault/secrets/get-secret/get-secret
func (s *Service) getSecret(c *call) (any, error) {
	var answer bundle
	err := s.cfg.Store.View(c.vault.host, func(r store.Reader) error {
		record, version, err := s.active(c, r)
		if err != nil {
			return err
		}
		if !version.Enabled {
			return errDisabled()
		}
		answer = c.vault.bundle(record.Name, version)
		answer.Value = &version.Value
		return nil
	})
	if err == nil && c.query.Has("outContentType") {
		err = errOutContentType()
	}
	return answer, err
}

// updateSecret: https://learn.microsoft.com/rest/api/keyvault/secrets/update-secret/update-secret
//
// Without a version it changes the current one. Recorded: update_current_version_empty_segment.json.
func (s *Service) updateSecret(c *call) (any, error) {
	var p properties
	if err := c.decode(&p); err != nil {
		return nil, err
	}
	p.Value = nil // an update cannot change it
	if err := p.check(); err != nil {
		return nil, err
	}
	var answer bundle
	err := s.cfg.Store.Update(c.vault.host, func(w store.Writer) error {
		record, version, err := s.active(c, w)
		if err != nil {
			return err
		}
		p.apply(&version)
		version.Updated = c.now
		answer = c.vault.bundle(record.Name, version)
		return w.PutVersion(record.Name, version)
	})
	return answer, err
}

// deleteSecret: https://learn.microsoft.com/rest/api/keyvault/secrets/delete-secret/delete-secret
func (s *Service) deleteSecret(c *call) (any, error) {
	var answer bundle
	err := s.cfg.Store.Update(c.vault.host, func(w store.Writer) error {
		record, version, err := s.active(c, w)
		if err != nil {
			return err
		}
		record.Deletion = &store.Deletion{At: c.now, Purge: c.now + int64(c.vault.RetentionDays)*secondsADay}
		answer = c.vault.deleted(c.vault.bundle(record.Name, version), record)
		return w.PutSecret(record)
	})
	if err == nil {
		s.visibility.begin(c, beingDeleted)
	}
	return answer, err
}

const secondsADay = 24 * 60 * 60
