package identity

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"
)

// watch uses certificates that somebody else puts in the place of the current
// one, until ctx ends: whoever renews all certificates of a node renews this one
// too. In the same way it takes up the authorities that the kubeconfig trusts.
func (h *holder) watch(ctx context.Context) {
	w, err := fsnotify.NewWatcher()
	if err == nil {
		defer func() { _ = w.Close() }() // it only watched
		if err = os.MkdirAll(h.o.CertDir, 0o755); err == nil {
			err = errors.Join(w.Add(h.o.CertDir), w.Add(filepath.Dir(h.o.Kubeconfig)))
		}
	}
	if err != nil {
		h.o.Log.LogAttrs(ctx, slog.LevelWarn, "watch client certificate", slog.String("path", h.o.CertDir), slog.Any("err", err))
		return
	}
	path, trust := currentPath(h.o.CertDir, clientPrefix), filepath.Clean(h.o.Kubeconfig)
	h.reload()
	h.retrust(ctx)
	for {
		select {
		case ev := <-w.Events:
			switch ev.Name {
			case path:
				h.reload()
			case trust:
				h.retrust(ctx)
			}
		case <-ctx.Done():
			return
		}
	}
}

// reload uses the certificate that lies in the store if it is another one.
func (h *holder) reload() {
	c, err := h.store.Current()
	if err != nil || time.Now().After(c.Leaf.NotAfter) { // there is none yet, or none that is of use
		return
	}
	if old := h.current.Load(); old == nil || !old.Leaf.Equal(c.Leaf) {
		h.use(c)
	}
}
