package phases

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
)

// byBoot is how a file begins that the loop writes for logind. The kubelet has one
// of the same name.
const byBoot = "# Written by boot"

// logind removes what has shutdowns wait until pods have ended.
func (r reset) logind(context.Context) ([]Change, error) {
	data, err := os.ReadFile(r.Dirs.Logind)
	if err != nil || !bytes.HasPrefix(data, []byte(byBoot)) {
		return nil, ignoreMissing(err)
	}
	return r.clear(func(c *clearing) error {
		if err := c.file(r.Dirs.Logind); err != nil {
			return err
		}
		c.changes = append(c.changes, Change{"have logind read its configuration", func(ctx context.Context) error {
			if err := r.ReloadLogind(ctx); err != nil {
				warn(ctx, fmt.Sprintf("shutdowns wait for pods until logind starts anew: %v", err))
			}
			return nil
		}})
		return c.empty(filepath.Dir(r.Dirs.Logind))
	})
}
