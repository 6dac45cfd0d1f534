package keyvault

import (
	"strings"

	"github.com/airlock-secrets/airlock/localcloud/store"
)

// listSecrets: https://learn.microsoft.com/rest/api/keyvault/secrets/get-secrets/get-secrets
func (s *Service) listSecrets(c *call) (any, error) {
	return s.listNames(c, "secrets", func(record store.Secret) bool {
		return record.Deletion == nil && !s.visibility.is(c, record.Name, beingRecovered)
	})
}

// listDeleted: https://learn.microsoft.com/rest/api/keyvault/secrets/get-deleted-secrets/get-deleted-secrets
func (s *Service) listDeleted(c *call) (any, error) {
	return s.listNames(c, "deletedsecrets", func(record store.Secret) bool {
		return record.Deletion != nil && !s.visibility.is(c, record.Name, beingDeleted)
	})
}

// listNames answers with a page of names. A page is a stretch of all names of the vault, from which those that are not
// wanted are then left out; so pages may be short, even empty, with more behind them, as they are in Azure.
// Recorded: list_secrets_paged_real_skiptoken.json.
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
			if expired(record, c.now) || !wanted(record) {
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

// listVersions: https://learn.microsoft.com/rest/api/keyvault/secrets/get-secret-versions/get-secret-versions
//
// The order is that of the ids, not of time, and an unknown name has an empty list. Recorded:
// list_versions_order_by_version_id.json, list_versions_nonexisting_empty.json.
func (s *Service) listVersions(c *call) (any, error) {
	after, limit, err := c.position()
	if err != nil {
		return nil, err
	}
	answer := page{Value: []bundle{}}
	err = s.cfg.Store.View(c.vault.host, func(r store.Reader) error {
		record, found, err := find(r, c.name, c.now)
		if err != nil || !found || record.Deletion != nil || s.visibility.is(c, c.name, beingRecovered) {
			return err
		}
		versions, err := r.Versions(c.name, after, limit+1)
		if err != nil {
			return err
		}
		if len(versions) > limit {
			versions = versions[:limit]
			answer.NextLink = c.nextLink("secrets/"+record.Name+"/versions", versions[limit-1].ID)
		}
		for _, version := range versions {
			answer.Value = append(answer.Value, c.vault.bundle(record.Name, version))
		}
		return nil
	})
	return answer, err
}
