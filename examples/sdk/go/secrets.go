package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azsecrets"
)

const (
	many     = 30 // more than a page
	pageSize = 25 // of Key Vault
)

// secrets walks through all that can be done with secrets. What it makes has names of its own, and is purged at the end.
func secrets(ctx context.Context, w *walk, c *azsecrets.Client) error {
	prefix := "walk-go-" + strings.ToLower(rand.Text()[:8])
	name := prefix + "-one"
	listed := make([]string, many)
	for i := range listed {
		listed[i] = fmt.Sprintf("%s-list-%02d", prefix, i)
	}
	versioned := prefix + "-versions"
	now := time.Now().UTC().Truncate(time.Second)
	from, until := now.Add(-time.Hour), now.Add(24*time.Hour)
	const firstValue, secondValue = "first välue\nwith two lines", "second"

	var first, second, updated azsecrets.Secret
	var backup []byte
	for _, s := range []struct {
		name string
		do   func() error
	}{
		{"set", func() error {
			answer, err := c.SetSecret(ctx, name, azsecrets.SetSecretParameters{
				Value: to.Ptr(firstValue), ContentType: to.Ptr("text/plain"),
				Tags:             map[string]*string{"one": to.Ptr("1"), "two": to.Ptr("2")},
				SecretAttributes: &azsecrets.SecretAttributes{Enabled: to.Ptr(true), NotBefore: &from, Expires: &until},
			}, nil)
			if err != nil {
				return err
			}
			first = answer.Secret
			a := value(first.Attributes)
			return differ(
				fact{"name", first.ID.Name() == name},
				fact{"version", len(first.ID.Version()) == 32},
				fact{"value", value(first.Value) == firstValue},
				fact{"content type", value(first.ContentType) == "text/plain"},
				fact{"tags", sameTags(first.Tags, map[string]string{"one": "1", "two": "2"})},
				fact{"enabled", value(a.Enabled)},
				fact{"not before", value(a.NotBefore).Equal(from)},
				fact{"expires", value(a.Expires).Equal(until)},
				fact{"created", value(a.Created).Sub(now).Abs() < time.Minute},
				fact{"recovery level", strings.HasPrefix(value(a.RecoveryLevel), "Recoverable")},
			)
		}},
		{"get", func() error {
			answer, err := c.GetSecret(ctx, name, "", nil)
			if err != nil {
				return err
			}
			a := value(answer.Attributes)
			return differ(
				fact{"id", *answer.ID == *first.ID},
				fact{"value", value(answer.Value) == firstValue},
				fact{"content type", value(answer.ContentType) == "text/plain"},
				fact{"tags", sameTags(answer.Tags, map[string]string{"one": "1", "two": "2"})},
				fact{"not before", value(a.NotBefore).Equal(from)},
				fact{"expires", value(a.Expires).Equal(until)},
			)
		}},
		{"set-again", func() error {
			answer, err := c.SetSecret(ctx, name, azsecrets.SetSecretParameters{Value: to.Ptr(secondValue)}, nil)
			if err != nil {
				return err
			}
			second = answer.Secret
			return differ(
				fact{"a new version", second.ID.Version() != first.ID.Version()},
				fact{"no content type", second.ContentType == nil},
				fact{"no tags", len(second.Tags) == 0},
			)
		}},
		{"get-version", func() error {
			for _, row := range []struct{ version, want string }{
				{first.ID.Version(), firstValue}, {second.ID.Version(), secondValue}, {"", secondValue},
			} {
				answer, err := c.GetSecret(ctx, name, row.version, nil)
				if err != nil {
					return err
				}
				if err := differ(fact{"value", value(answer.Value) == row.want}); err != nil {
					return err
				}
			}
			return nil
		}},
		{"update", func() error {
			answer, err := c.UpdateSecretProperties(ctx, name, "", azsecrets.UpdateSecretPropertiesParameters{
				ContentType: to.Ptr("application/json"), Tags: map[string]*string{"three": to.Ptr("3")},
			}, nil)
			if err != nil {
				return err
			}
			updated = answer.Secret
			return differ(
				fact{"version", *updated.ID == *second.ID},
				fact{"no value", updated.Value == nil},
				fact{"content type", value(updated.ContentType) == "application/json"},
				fact{"tags", sameTags(updated.Tags, map[string]string{"three": "3"})},
				fact{"enabled", value(value(updated.Attributes).Enabled)},
			)
		}},
		{"update-version", func() error {
			answer, err := c.UpdateSecretProperties(ctx, name, first.ID.Version(), azsecrets.UpdateSecretPropertiesParameters{
				SecretAttributes: &azsecrets.SecretAttributes{Enabled: to.Ptr(false)},
			}, nil)
			if err != nil {
				return err
			}
			a := value(answer.Attributes)
			return differ(
				fact{"version", *answer.ID == *first.ID},
				fact{"disabled", !value(a.Enabled)},
				fact{"content type", value(answer.ContentType) == "text/plain"},
				fact{"not before", value(a.NotBefore).Equal(from)},
				fact{"expires", value(a.Expires).Equal(until)},
			)
		}},
		{"disabled", func() error {
			_, err := c.GetSecret(ctx, name, first.ID.Version(), nil)
			return refusal(err, http.StatusForbidden, "Forbidden")
		}},
		{"not-found", func() error {
			_, err := c.GetSecret(ctx, prefix+"-nothing", "", nil)
			return refusal(err, http.StatusNotFound, "SecretNotFound")
		}},
		{"bad-name", func() error {
			_, err := c.GetSecret(ctx, "under_score", "", nil)
			return refusal(err, http.StatusBadRequest, "BadParameter")
		}},
		{"list", func() error {
			for _, n := range listed {
				if _, err := c.SetSecret(ctx, n, azsecrets.SetSecretParameters{Value: &n}, nil); err != nil {
					return err
				}
			}
			pager := c.NewListSecretPropertiesPager(nil)
			return paged(ctx, pager, func(page azsecrets.ListSecretPropertiesResponse) (ids []azsecrets.ID) {
				for _, item := range page.Value {
					ids = append(ids, *item.ID)
				}
				return ids
			}, func(ids []azsecrets.ID) bool { return slices.Equal(namesOf(ids, prefix+"-list-"), listed) })
		}},
		{"list-versions", func() error {
			var versions []string
			for i := range many {
				answer, err := c.SetSecret(ctx, versioned, azsecrets.SetSecretParameters{Value: to.Ptr(fmt.Sprint(i))}, nil)
				if err != nil {
					return err
				}
				versions = append(versions, answer.ID.Version())
			}
			slices.Sort(versions)
			pager := c.NewListSecretPropertiesVersionsPager(versioned, nil)
			return paged(ctx, pager, func(page azsecrets.ListSecretPropertiesVersionsResponse) (ids []azsecrets.ID) {
				for _, item := range page.Value {
					ids = append(ids, *item.ID)
				}
				return ids
			}, func(ids []azsecrets.ID) bool {
				var got []string
				for _, id := range ids {
					got = append(got, id.Version())
				}
				slices.Sort(got)
				return slices.Equal(got, versions)
			})
		}},
		{"delete", func() error {
			answer, err := c.DeleteSecret(ctx, name, nil)
			if err != nil {
				return err
			}
			err = differ(
				fact{"id", *answer.ID == *second.ID},
				fact{"no value", answer.Value == nil},
				fact{"content type", value(answer.ContentType) == "application/json"},
			)
			return errors.Join(err, untilDeleted(ctx, c, name))
		}},
		{"get-deleted", func() error {
			answer, err := c.GetDeletedSecret(ctx, name, nil)
			if err != nil {
				return err
			}
			days := time.Duration(value(value(answer.Attributes).RecoverableDays))
			kept := value(answer.ScheduledPurgeDate).Sub(value(answer.DeletedDate))
			_, err = c.GetSecret(ctx, name, "", nil)
			return errors.Join(refusal(err, http.StatusNotFound, "SecretNotFound"), differ(
				fact{"id", *answer.ID == *second.ID},
				fact{"recovery id", strings.HasSuffix(value(answer.RecoveryID), "/deletedsecrets/"+name)},
				fact{"date of the purge", days >= 7 && kept == days*24*time.Hour},
			))
		}},
		{"set-deleted", func() error {
			_, err := c.SetSecret(ctx, name, azsecrets.SetSecretParameters{Value: to.Ptr("third")}, nil)
			return refusal(err, http.StatusConflict, "Conflict")
		}},
		{"recover", func() error {
			answer, err := c.RecoverDeletedSecret(ctx, name, nil)
			if err != nil {
				return err
			}
			got, err := wait(func() (azsecrets.GetSecretResponse, error) { return c.GetSecret(ctx, name, "", nil) })
			if err != nil {
				return err
			}
			return differ(
				fact{"id", *answer.ID == *second.ID && *got.ID == *second.ID},
				fact{"value", value(got.Value) == secondValue},
				fact{"tags", sameTags(got.Tags, map[string]string{"three": "3"})},
			)
		}},
		{"backup", func() error {
			answer, err := c.BackupSecret(ctx, name, nil)
			if err != nil {
				return err
			}
			backup = answer.Value
			return differ(
				fact{"a backup", len(backup) > 0},
				fact{"a backup that shows no value", !bytes.Contains(backup, []byte(secondValue))},
			)
		}},
		{"purge", func() error {
			if _, err := c.DeleteSecret(ctx, name, nil); err != nil {
				return err
			}
			if err := untilDeleted(ctx, c, name); err != nil {
				return err
			}
			if _, err := c.PurgeDeletedSecret(ctx, name, nil); err != nil {
				return err
			}
			_, err := c.GetDeletedSecret(ctx, name, nil)
			return refusal(err, http.StatusNotFound, "SecretNotFound")
		}},
		{"restore", func() error {
			answer, err := wait(func() (azsecrets.RestoreSecretResponse, error) {
				return c.RestoreSecret(ctx, azsecrets.RestoreSecretParameters{SecretBackup: backup}, nil)
			})
			if err != nil {
				return err
			}
			got, err := c.GetSecret(ctx, name, "", nil)
			if err != nil {
				return err
			}
			_, err = c.GetSecret(ctx, name, first.ID.Version(), nil) // still disabled
			return errors.Join(refusal(err, http.StatusForbidden, "Forbidden"), differ(
				fact{"id", *answer.ID == *second.ID && *got.ID == *second.ID},
				fact{"value", value(got.Value) == secondValue},
				fact{"content type", value(got.ContentType) == "application/json"},
				fact{"created", value(got.Attributes.Created).Equal(value(second.Attributes.Created))},
			))
		}},
		{"list-deleted", func() error {
			for _, n := range listed {
				if _, err := c.DeleteSecret(ctx, n, nil); err != nil {
					return err
				}
			}
			for _, n := range listed {
				if err := untilDeleted(ctx, c, n); err != nil {
					return err
				}
			}
			pager := c.NewListDeletedSecretPropertiesPager(nil)
			return paged(ctx, pager, func(page azsecrets.ListDeletedSecretPropertiesResponse) (ids []azsecrets.ID) {
				for _, item := range page.Value {
					ids = append(ids, *item.ID)
				}
				return ids
			}, func(ids []azsecrets.ID) bool { return slices.Equal(namesOf(ids, prefix+"-list-"), listed) })
		}},
		{"clean-up", func() error {
			for _, n := range []string{name, versioned} {
				if _, err := c.DeleteSecret(ctx, n, nil); err != nil {
					return err
				}
				if err := untilDeleted(ctx, c, n); err != nil {
					return err
				}
			}
			for _, n := range slices.Concat([]string{name, versioned}, listed) {
				if _, err := c.PurgeDeletedSecret(ctx, n, nil); err != nil {
					return err
				}
			}
			_, err := c.GetDeletedSecret(ctx, versioned, nil)
			return refusal(err, http.StatusNotFound, "SecretNotFound")
		}},
	} {
		if err := w.step(s.name, s.do); err != nil {
			return err
		}
	}
	return nil
}

// refusal says whether an error is the vault's answer with this status and code.
func refusal(err error, status int, code string) error {
	if response := (*azcore.ResponseError)(nil); errors.As(err, &response) {
		return differ(fact{fmt.Sprintf("status %d", status), response.StatusCode == status},
			fact{"code " + code, response.ErrorCode == code})
	}
	return errors.Join(err, differ(fact{fmt.Sprintf("a refusal, %d %s", status, code), false}))
}

// paged reads all pages of a list, which must be more than one and none too long, and looks at what they held.
func paged[T any](
	ctx context.Context, pager *runtime.Pager[T], ids func(T) []azsecrets.ID, right func([]azsecrets.ID) bool,
) error {
	var all []azsecrets.ID
	pages, longest := 0, 0
	for ; pager.More(); pages++ {
		page, err := pager.NextPage(ctx)
		if err != nil {
			return err
		}
		these := ids(page)
		all, longest = append(all, these...), max(longest, len(these))
	}
	return differ(
		fact{"more than one page", pages > 1},
		fact{"length of pages", longest <= pageSize},
		fact{"what is listed", right(all)},
	)
}

// namesOf are the sorted names that begin with the prefix: the vault may hold other secrets.
func namesOf(ids []azsecrets.ID, prefix string) (names []string) {
	for _, id := range ids {
		if strings.HasPrefix(id.Name(), prefix) {
			names = append(names, id.Name())
		}
	}
	slices.Sort(names)
	return names
}

func sameTags(got map[string]*string, want map[string]string) bool {
	return maps.EqualFunc(got, want, func(p *string, s string) bool { return p != nil && *p == s })
}

// untilDeleted waits until the vault shows a deletion. Other SDKs have pollers for it.
func untilDeleted(ctx context.Context, c *azsecrets.Client, name string) error {
	_, err := wait(func() (azsecrets.GetDeletedSecretResponse, error) { return c.GetDeletedSecret(ctx, name, nil) })
	return err
}

// wait asks again for as long as the vault has not caught up, which is 404 or 409 for some seconds in Azure.
func wait[T any](ask func() (T, error)) (answer T, err error) {
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Second) {
		answer, err = ask()
		response := (*azcore.ResponseError)(nil)
		behind := errors.As(err, &response) &&
			(response.StatusCode == http.StatusNotFound || response.StatusCode == http.StatusConflict)
		if !behind || time.Now().After(deadline) {
			return answer, err
		}
	}
}
