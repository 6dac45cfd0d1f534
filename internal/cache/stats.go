package cache

// Stats is what a cache holds at one moment.
type Stats struct {
	Entries int // answers, those that say there is none included
	Flights int // questions to the source that are under way
}

// Stats counts.
func (c *Cache) Stats() Stats {
	c.mu.RLock()
	defer c.mu.RUnlock()
	var s Stats
	for _, slot := range c.slots {
		if slot.held != nil {
			s.Entries++
		}
		if slot.flight != nil {
			s.Flights++
		}
	}
	return s
}
