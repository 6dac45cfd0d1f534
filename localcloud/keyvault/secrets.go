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
	if err != nil || !found || record.Deletion != nil && record.Deletion.Purge <= now {
		return store.Secret{}, false, err
	}
	return record, true, nil
}

// active looks up a secret that is not deleted, and the version that was asked for: the current one if id is "".
func active(r store.Reader, name, id string, now int64) (store.Secret, store.Version, error) {
	record, found, err := find(r, name, now)
	if err != nil {
		return record, store.Version{}, err
	}
	if !found || record.Deletion != nil {
		return record, store.Version{}, errSecretNotFound(strings.TrimSuffix(name+"/"+id, "/"))
	}
	version, err := versionOf(r, record, id)
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
		record, version, err := active(r, c.name, c.version, c.now)
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

// listSecrets: https://learn.microsoft.com/rest/api/keyvault/secrets/get-secrets/get-secrets
//
// A page is a stretch of all names, from which those that are deleted are then left out; so pages may be short, even
// empty, with more behind them. Recorded: list_secrets_paged_real_skiptoken.json.
func (s *Service) listSecrets(c *call) (any, error) {
	return s.listNames(c, "secrets", func(record store.Secret) bool { return record.Deletion == nil })
}

func (s *Service) listNames(c *call, path string, wanted func(store.Secret) bool) (any, error) {
	after, limit, err := c.position()
	if err != nil {
		return nil, err
	}
	answer := page{Value: []bundle{}}
	err = s.cfg.Store.View(c.vault.host, func(r store.Reader) error {
		records, err := r.Secrets(after, limit+1) // one more, to know whether there is more
		if err != nil {
			return err
		}
		if len(records) > limit {
			records = records[:limit]
			answer.NextLink = c.nextLink(path, strings.ToUpper(records[limit-1].Name))
		}
		for _, record := range records {
			if record.Deletion != nil && record.Deletion.Purge <= c.now || !wanted(record) {
				continue
			}
			version, err := versionOf(r, record, "")
			if err != nil {
				return err
			}
			item := c.vault.bundle(record.Name, version)
			item.ID = c.vault.id("secrets", record.Name)
			if record.Deletion != nil {
				item = c.vault.deleted(item, record)
			}
			answer.Value = append(answer.Value, item)
		}
		return nil
	})
	return answer, err
}

// deleteSecret: https://learn.microsoft.com/rest/api/keyvault/secrets/delete-secret/delete-secret
func (s *Service) deleteSecret(c *call) (any, error) {
	var answer bundle
	err := s.cfg.Store.Update(c.vault.host, func(w store.Writer) error {
		record, version, err := active(w, c.name, "", c.now)
		if err != nil {
			return err
		}
		record.Deletion = &store.Deletion{At: c.now, Purge: c.now + int64(c.vault.RetentionDays)*secondsADay}
		answer = c.vault.deleted(c.vault.bundle(record.Name, version), record)
		return w.PutSecret(record)
	})
	return answer, err
}

const secondsADay = 24 * 60 * 60
