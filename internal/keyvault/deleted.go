package keyvault

import (
	"context"
	"iter"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azsecrets"

	"github.com/airlock-secrets/airlock/internal/fault"
)

// A vault shows a recovered secret after some seconds (recorded: about two). These say how often we look and when we give up.
const (
	recoverPoll    = 500 * time.Millisecond
	recoverTimeout = time.Minute
)

// Deleted walks over the secrets that are deleted and not yet gone. An error ends the walk. A secret that was deleted some
// seconds ago may not be there yet.
func (c *Client) Deleted(ctx context.Context) iter.Seq2[Properties, error] {
	type response = azsecrets.ListDeletedSecretPropertiesResponse
	newPager := func(sdk *azsecrets.Client) *runtime.Pager[response] {
		return sdk.NewListDeletedSecretPropertiesPager(nil)
	}
	return flat(pages(ctx, c, listing[response]{verb: listDeleted, pager: newPager, items: func(page response) (all []Properties) {
		for _, p := range page.Value {
			if p != nil {
				all = append(all, propertiesOf(item{
					Attributes: p.Attributes, ContentType: p.ContentType, ID: p.ID, Managed: p.Managed, Tags: p.Tags,
				}))
			}
		}
		return all
	}}))
}

// Recover takes a deleted secret back with all its versions, and waits until the vault shows it again. A name that is not
// among the deleted is fault.NotFound.
func (c *Client) Recover(ctx context.Context, name string) error {
	err := c.do(ctx, operation{verb: recovery, name: name}, func(ctx context.Context, sdk *azsecrets.Client) error {
		_, err := sdk.RecoverDeletedSecret(ctx, name, nil)
		return err
	})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, recoverTimeout)
	defer cancel()
	for {
		// Refused is as good as read: it is there, disabled, or we may write and not read.
		_, err := c.Get(ctx, name)
		if !fault.Is(err, fault.NotFound) {
			if fault.Is(err, fault.Forbidden) {
				return nil
			}
			return err
		}
		select {
		case <-time.After(recoverPoll):
		case <-ctx.Done():
			return c.explain(failure{ctx: ctx, op: operation{verb: recovery, name: name}, seen: &trace{host: c.host}, err: ctx.Err()})
		}
	}
}
