package fake

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// write writes the log of c, where there is a directory for it, and the file
// its program writes, where that is mounted.
func (c *container) write() error {
	var log strings.Builder
	for _, line := range c.program.Log {
		fmt.Fprintf(&log, "%s stdout F %s\n", time.Now().Format(time.RFC3339Nano), line)
	}
	if fi, err := os.Stat(filepath.Dir(c.logPath)); c.logPath != "" && err == nil && fi.IsDir() {
		if err := os.WriteFile(c.logPath, []byte(log.String()), 0o640); err != nil {
			return err
		}
	}
	for _, m := range c.config.Mounts {
		rest, below := strings.CutPrefix(c.program.Write, m.ContainerPath)
		if !below || c.program.Write == "" {
			continue
		}
		err := os.WriteFile(filepath.Join(m.HostPath, rest), []byte(c.program.Text), 0o644)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
