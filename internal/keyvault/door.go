package keyvault

import (
	"context"
	"sync/atomic"
)

// door lets one call in alone and, when it has come back, everybody. The SDK learns from the vault's first answer where
// to log in; calls that start together would each be challenged, and each challenge throws away the token that another
// call has just fetched. For the Azure CLI, which keeps no token, that is a process for each call.
type door struct {
	taken  atomic.Bool
	opened chan struct{}
}

func newDoor() *door { return &door{opened: make(chan struct{})} }

// enter waits for the first call, or for the context. The caller must call leave once it is done.
func (d *door) enter(ctx context.Context) (leave func(), err error) {
	if d.taken.CompareAndSwap(false, true) {
		return func() { close(d.opened) }, nil
	}
	select {
	case <-d.opened:
		return func() {}, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
