package keyvault

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"

	"github.com/go-jose/go-jose/v4"

	"github.com/airlock-secrets/airlock/localcloud/store"
)

// A backup is base64url of a kind, which is a string behind its length, and a JWE. Recorded:
// backup_purge_restore_conflict_then_ok.json. What the JWE holds is known to the service alone.
const backupKind = "AzureKeyVaultSecretBackupV1.microsoft.com"

// maxBackupVersions is how many versions a secret may have to be backed up.
// Source: https://learn.microsoft.com/azure/key-vault/general/backup#limitations
const maxBackupVersions = 500

type backup struct {
	Secret   store.Secret    `json:"secret"`
	Versions []store.Version `json:"versions"`
}

type backupValue struct {
	Value string `json:"value"`
}

// backupSecret: https://learn.microsoft.com/rest/api/keyvault/secrets/backup-secret/backup-secret
func (s *Service) backupSecret(c *call) (any, error) {
	var b backup
	err := s.cfg.Store.View(c.vault.host, func(r store.Reader) (err error) {
		if b.Secret, _, err = s.active(c, r); err != nil {
			return err
		}
		b.Versions, err = r.Versions(c.name, "", maxBackupVersions+1)
		if err == nil && len(b.Versions) > maxBackupVersions {
			err = errTooManyVersions()
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	blob, err := sealBackup(b, s.cfg.BackupKey)
	return backupValue{blob}, err
}

// restoreSecret: https://learn.microsoft.com/rest/api/keyvault/secrets/restore-secret/restore-secret
//
// The versions keep their ids and times, and the name must be free: neither in use nor deleted but recoverable.
func (s *Service) restoreSecret(c *call) (any, error) {
	var body backupValue
	if err := c.decode(&body); err != nil {
		return nil, err
	}
	b, err := openBackup(body.Value, s.cfg.BackupKey)
	if err != nil {
		return nil, err
	}
	id := c.vault.id("secrets", b.Secret.Name) + "/" + b.Secret.Current
	if s.visibility.is(c, b.Secret.Name, beingPurged) {
		return nil, errRestoreConflict(id)
	}
	var answer bundle
	err = s.cfg.Store.Update(c.vault.host, func(w store.Writer) error {
		_, found, err := find(w, b.Secret.Name, c.now)
		if err != nil {
			return err
		}
		if found {
			return errRestoreConflict(id)
		}
		if err := w.Drop(b.Secret.Name); err != nil {
			return err
		}
		if err := w.PutSecret(b.Secret); err != nil {
			return err
		}
		for _, version := range b.Versions {
			if err := w.PutVersion(b.Secret.Name, version); err != nil {
				return err
			}
			if version.ID == b.Secret.Current {
				answer = c.vault.bundle(b.Secret.Name, version)
			}
		}
		return nil
	})
	return answer, err
}

// sealBackup makes the blob of a backup, which only the same key opens.
func sealBackup(b backup, key []byte) (string, error) {
	plain, err := json.Marshal(b)
	if err != nil {
		return "", errors.New("a secret could not be encoded")
	}
	encrypter, err := jose.NewEncrypter(jose.A256GCM, jose.Recipient{Algorithm: jose.DIRECT, Key: key}, nil)
	if err != nil {
		return "", err
	}
	sealed, err := encrypter.Encrypt(plain)
	if err != nil {
		return "", errors.New("a secret could not be encrypted")
	}
	compact, err := sealed.CompactSerialize()
	if err != nil {
		return "", err
	}
	return base64.RawURLEncoding.EncodeToString([]byte(string(rune(len(backupKind))) + backupKind + compact)), nil
}

// openBackup reads what sealBackup made, and refuses all else.
func openBackup(blob string, key []byte) (backup, error) {
	raw, err := base64.RawURLEncoding.DecodeString(blob)
	if err != nil || len(raw) == 0 || len(raw) < 1+int(raw[0]) {
		return backup{}, errBackupCorrupt()
	}
	kind, compact := raw[1:1+int(raw[0])], raw[1+int(raw[0]):]
	if !bytes.Equal(kind, []byte(backupKind)) {
		return backup{}, errBackupVersion()
	}
	sealed, err := jose.ParseEncryptedCompact(string(compact),
		[]jose.KeyAlgorithm{jose.DIRECT}, []jose.ContentEncryption{jose.A256GCM})
	if err != nil {
		return backup{}, errBackupCorrupt()
	}
	plain, err := sealed.Decrypt(key)
	var b backup
	if err != nil || json.Unmarshal(plain, &b) != nil {
		return backup{}, errBackupCorrupt()
	}
	return b, nil
}
