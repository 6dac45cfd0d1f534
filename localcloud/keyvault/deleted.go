package keyvault

import "github.com/airlock-secrets/airlock/localcloud/store"

// deleted looks up the deleted secret of a request, with its current version.
func (s *Service) deleted(c *call, r store.Reader, missing func(string) *Error) (store.Secret, store.Version, error) {
	record, found, err := find(r, c.name, c.now)
	if err != nil {
		return record, store.Version{}, err
	}
	if !found || record.Deletion == nil {
		return record, store.Version{}, missing(c.name)
	}
	version, err := versionOf(r, record, "")
	return record, version, err
}

// getDeleted: https://learn.microsoft.com/rest/api/keyvault/secrets/get-deleted-secret/get-deleted-secret
//
// That a disabled secret is refused here too was recorded: set_disabled_contenttype_list_with_empty_pages.json.
func (s *Service) getDeleted(c *call) (any, error) {
	if s.visibility.is(c, c.name, beingDeleted) {
		return nil, errDeletedNotFound(c.name)
	}
	var answer bundle
	err := s.cfg.Store.View(c.vault.host, func(r store.Reader) error {
		record, version, err := s.deleted(c, r, errDeletedNotFound)
		if err != nil {
			return err
		}
		if !version.Enabled {
			return errDisabled()
		}
		answer = c.vault.deleted(c.vault.bundle(record.Name, version), record)
		return nil
	})
	return answer, err
}

// recoverDeleted: https://learn.microsoft.com/rest/api/keyvault/secrets/recover-deleted-secret/recover-deleted-secret
//
// An unknown name gets the text of an active secret that is not there.
func (s *Service) recoverDeleted(c *call) (any, error) {
	if s.visibility.is(c, c.name, beingDeleted) {
		return nil, errBeingDeleted()
	}
	var answer bundle
	err := s.cfg.Store.Update(c.vault.host, func(w store.Writer) error {
		record, version, err := s.deleted(c, w, errSecretNotFound)
		if err != nil {
			return err
		}
		record.Deletion = nil
		answer = c.vault.bundle(record.Name, version)
		return w.PutSecret(record)
	})
	if err == nil {
		s.visibility.begin(c, beingRecovered)
	}
	return answer, err
}

// purgeDeleted: https://learn.microsoft.com/rest/api/keyvault/secrets/purge-deleted-secret/purge-deleted-secret
func (s *Service) purgeDeleted(c *call) (any, error) {
	if s.visibility.is(c, c.name, beingDeleted) {
		return nil, errBeingDeleted()
	}
	err := s.cfg.Store.Update(c.vault.host, func(w store.Writer) error {
		record, _, err := s.deleted(c, w, errDeletedNotFound)
		if err != nil {
			return err
		}
		if c.vault.PurgeProtection {
			return errPurgeProtected(record.Name, c.vault.name)
		}
		return w.Drop(record.Name)
	})
	if err == nil {
		s.visibility.begin(c, beingPurged)
	}
	return nil, err
}
