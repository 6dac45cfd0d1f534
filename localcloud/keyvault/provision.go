package keyvault

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/airlock-secrets/airlock/localcloud/store"
)

// SetSecrets gives a provisioned vault secrets without the wire: all of them, or none if one is refused. A name whose
// value is the same already gets no new version; one that is deleted is recovered. Key Vault's rules for names and sizes
// hold; errors name the secret, never its value.
func (s *Service) SetSecrets(vaultURL string, secrets map[string]string) error {
	host, err := ParseURL(vaultURL)
	if err != nil {
		return fmt.Errorf("vault %q: %w", vaultURL, err)
	}
	v := s.vault(host)
	if v == nil {
		return fmt.Errorf("vault %q: is not provisioned", vaultURL)
	}
	names := slices.Sorted(maps.Keys(secrets))
	folded := map[string]string{}
	var problems []error
	refuse := func(name, format string, args ...any) {
		problems = append(problems, fmt.Errorf("secret %q: %w", name, fmt.Errorf(format, args...)))
	}
	for _, name := range names {
		switch other, taken := folded[store.Fold(name)]; {
		case !secretName.MatchString(name):
			refuse(name, "a name has 1 to 127 letters, digits and hyphens")
		case len(secrets[name]) > maxValue:
			refuse(name, "the value has %d bytes, and Key Vault takes %d at most", len(secrets[name]), maxValue)
		case taken:
			refuse(name, "Key Vault cannot tell it from %q, because names ignore case", other)
		}
		folded[store.Fold(name)] = name
	}
	if len(problems) > 0 {
		return errors.Join(problems...)
	}
	now := s.cfg.Now().Unix()
	err = s.cfg.Store.Update(host, func(w store.Writer) error {
		for _, name := range names {
			if err := provision(w, name, secrets[name], now); err != nil {
				return fmt.Errorf("secret %q: %w", name, err)
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("vault %q: %w", vaultURL, err)
	}
	return nil
}

func provision(w store.Writer, name, value string, now int64) error {
	record, found, err := find(w, name, now)
	if err != nil {
		return err
	}
	if found && record.Deletion != nil {
		record.Deletion = nil
		if err := w.PutSecret(record); err != nil {
			return err
		}
	}
	if found {
		version, err := versionOf(w, record, "")
		if err != nil {
			return err
		}
		if version.Value == value && version.Enabled {
			return nil
		}
	}
	_, err = add(w, name, store.Version{ID: newVersionID(), Value: value, Enabled: true, Created: now, Updated: now}, now)
	return err
}
