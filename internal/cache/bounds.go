package cache

import "time"

// The cache is bounded by entries and by bytes; whoever was asked for least recently goes. Key Vault teams hold some
// thousand names, and the bounds are far above that, so a scan is cheap enough for what hardly ever happens.

func (c *Cache) touch(s *slot, now time.Time) { s.used.Store(int64(now.Sub(c.begun))) }

// makeRoom drops a key when the cache is full. The caller holds the lock.
func (c *Cache) makeRoom() {
	if c.options.MaxEntries > 0 && len(c.slots) >= c.options.MaxEntries {
		if key, found := c.leastUsed(); found {
			delete(c.slots, key)
		}
	}
}

// fit drops keys until the rest is within the bound of bytes. The caller holds the lock.
func (c *Cache) fit() {
	if c.options.MaxBytes <= 0 {
		return
	}
	for total := c.bytes(); total > c.options.MaxBytes; {
		key, found := c.leastUsed()
		if !found {
			return
		}
		total -= c.slots[key].bytes(key)
		delete(c.slots, key)
	}
}

// leastUsed finds the key to drop: one of which nothing but a failure is known, else the one that nobody has asked for the
// longest. Those that somebody waits for stay.
func (c *Cache) leastUsed() (least string, found bool) {
	var at int64
	for key, s := range c.slots {
		if s.flight != nil {
			continue
		}
		used := s.used.Load()
		if s.held == nil {
			used = -1
		}
		if !found || used < at {
			least, at, found = key, used, true
		}
	}
	return least, found
}

func (c *Cache) bytes() int {
	total := 0
	for key, s := range c.slots {
		total += s.bytes(key)
	}
	return total
}

func (s *slot) bytes(key string) int {
	if s.held == nil {
		return len(key)
	}
	return len(key) + s.held.Value.Len()
}
