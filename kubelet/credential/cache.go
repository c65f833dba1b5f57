package credential

import (
	"sync"
	"time"
)

// A cache holds what a plugin said, by whom it was said for and for which
// images. The zero cache is empty.
type cache struct {
	mu      sync.Mutex // guards entries
	entries map[cacheKey]cached
}

type cacheKey struct{ scope, part string }

type cached struct {
	all     logins
	expires time.Time
}

// find returns what holds for an image: what was said for it alone counts before
// what was said for its registry or for all.
func (c *cache) find(scope, image string, now time.Time) (logins, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, part := range []string{image, registryOf(image), everything} {
		if e, ok := c.entries[cacheKey{scope, part}]; ok && !now.After(e.expires) {
			return e.all, true
		}
	}
	return nil, false
}

// keep adds an entry, and forgets those that expired.
func (c *cache) keep(scope, part string, all logins, expires time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for key, e := range c.entries {
		if time.Now().After(e.expires) {
			delete(c.entries, key)
		}
	}
	if c.entries == nil {
		c.entries = map[cacheKey]cached{}
	}
	c.entries[cacheKey{scope, part}] = cached{all, expires}
}
