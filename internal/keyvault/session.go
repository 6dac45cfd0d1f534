package keyvault

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azsecrets"
)

// session is the SDK's client and the login in it, which keeps its tokens.
type session struct {
	sdk    *azsecrets.Client
	cred   azcore.TokenCredential // the same that the SDK's client has
	door   *door
	worked atomic.Bool // the vault took its token once
}

func (s *session) run(ctx context.Context, call func(context.Context, *azsecrets.Client) error) error {
	leave, err := s.door.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	err = call(ctx, s.sdk)
	if status := answerOf(err); status != 0 && status != http.StatusUnauthorized {
		s.worked.Store(true)
	}
	return err
}

// answerOf is the status that the vault answered a call with; 0 when it did not.
func answerOf(err error) int {
	var refused *azcore.ResponseError
	switch {
	case err == nil:
		return http.StatusOK
	case errors.As(err, &refused):
		return refused.StatusCode
	}
	return 0
}

// renew makes a new session in place of one whose token the vault took before and takes no more, and tells whether there is
// one. The SDK believes its clock and keeps a token until that says that it has expired: after this machine was suspended, or
// its clock was put back, that is too late, and the SDK has no way to ask for another.
func (c *Client) renew(s *session, err error) bool {
	if answerOf(err) != http.StatusUnauthorized || !s.worked.Load() {
		return false
	}
	if c.session.Load() == s {
		opened, err := c.open()
		if err != nil {
			return false
		}
		c.session.CompareAndSwap(s, opened)
	}
	return true
}
