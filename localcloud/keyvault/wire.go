package keyvault

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"unicode/utf8"

	"github.com/airlock-secrets/airlock/localcloud/store"
)

// bundle is a secret, a list's item or a deleted secret in an answer. The order of its fields is the service's.
type bundle struct {
	RecoveryID  string            `json:"recoveryId,omitempty"`
	DeletedDate int64             `json:"deletedDate,omitempty"`
	PurgeDate   int64             `json:"scheduledPurgeDate,omitempty"`
	Value       *string           `json:"value,omitempty"`
	ContentType string            `json:"contentType,omitempty"`
	ID          string            `json:"id"`
	Managed     bool              `json:"managed,omitempty"`
	Attributes  attributes        `json:"attributes"`
	Tags        map[string]string `json:"tags,omitempty"`
}

type attributes struct {
	Enabled         bool   `json:"enabled"`
	NotBefore       *int64 `json:"nbf,omitempty"`
	Expires         *int64 `json:"exp,omitempty"`
	Created         int64  `json:"created"`
	Updated         int64  `json:"updated"`
	RecoveryLevel   string `json:"recoveryLevel"`
	RecoverableDays int    `json:"recoverableDays"`
}

// bundle describes one version, without its value.
func (v *vault) bundle(name string, version store.Version) bundle {
	return bundle{
		ContentType: version.ContentType,
		ID:          v.id("secrets", name) + "/" + version.ID,
		Managed:     version.Managed,
		Attributes: attributes{
			Enabled: version.Enabled, NotBefore: version.NotBefore, Expires: version.Expires,
			Created: version.Created, Updated: version.Updated,
			RecoveryLevel: v.recoveryLevel(), RecoverableDays: v.RetentionDays,
		},
		Tags: version.Tags,
	}
}

// deleted adds to a bundle what is known of a deletion.
func (v *vault) deleted(b bundle, record store.Secret) bundle {
	b.RecoveryID = v.id("deletedsecrets", record.Name)
	b.DeletedDate, b.PurgeDate = record.Deletion.At, record.Deletion.Purge
	return b
}

// id is the address of a secret.
func (v *vault) id(collection, name string) string {
	return v.base + "/" + collection + "/" + name
}

// properties is the body of a set or an update. Fields that are absent are nil.
type properties struct {
	Value       *string           `json:"value"`
	ContentType *string           `json:"contentType"`
	Tags        map[string]string `json:"tags"`
	Attributes  struct {
		Enabled   *bool  `json:"enabled"`
		NotBefore *int64 `json:"nbf"`
		Expires   *int64 `json:"exp"`
	} `json:"attributes"`
}

// Limits of a secret.
// Sources: https://learn.microsoft.com/azure/key-vault/secrets/about-secrets and
// https://learn.microsoft.com/azure/key-vault/general/about-keys-secrets-certificates (tags).
const (
	maxValue       = 25 << 10 // bytes
	maxContentType = 255      // characters
	maxTags        = 15
	maxTagPart     = 512 // characters of a tag's name, and of its value
)

// check finds properties that the service refuses.
func (p *properties) check() error {
	switch {
	case p.Value != nil && len(*p.Value) > maxValue,
		p.ContentType != nil && utf8.RuneCountInString(*p.ContentType) > maxContentType,
		len(p.Tags) > maxTags:
		return errProperty()
	}
	for key, value := range p.Tags {
		if key == "" || utf8.RuneCountInString(key) > maxTagPart || utf8.RuneCountInString(value) > maxTagPart {
			return errProperty()
		}
	}
	return nil
}

// apply changes a version as a request asks; what it does not mention stays. Tags are replaced as a whole.
func (p *properties) apply(v *store.Version) {
	if p.Value != nil {
		v.Value = *p.Value
	}
	if p.ContentType != nil {
		v.ContentType = *p.ContentType
	}
	if p.Tags != nil {
		v.Tags = p.Tags
	}
	if len(v.Tags) == 0 {
		v.Tags = nil
	}
	if p.Attributes.Enabled != nil {
		v.Enabled = *p.Attributes.Enabled
	}
	if p.Attributes.NotBefore != nil {
		v.NotBefore = p.Attributes.NotBefore
	}
	if p.Attributes.Expires != nil {
		v.Expires = p.Attributes.Expires
	}
}

// decode reads a body that must hold exactly one JSON object. Unknown fields are ignored, as the service does.
func (c *call) decode(into any) error {
	raw, err := io.ReadAll(c.Body)
	if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
		return errTooLarge()
	}
	if err != nil {
		return errBody()
	}
	if raw = bytes.TrimSpace(raw); len(raw) == 0 || raw[0] != '{' || json.Unmarshal(raw, into) != nil {
		return errBody()
	}
	return nil
}
