package node

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"boot.internal/atomicfile"
)

const kubeconfig = `apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "https://192.0.2.1:6443"}}]
users: [{name: u, user: {token: t}}]
contexts: [{name: x, context: {cluster: c, user: u}}]
current-context: x
`

// A heard log sends the reason of each line.
type heard struct {
	slog.Handler
	reasons chan error
}

func (h heard) Enabled(context.Context, slog.Level) bool { return true }

func (h heard) Handle(_ context.Context, r slog.Record) error {
	r.Attrs(func(a slog.Attr) bool {
		if err, ok := a.Value.Any().(error); ok {
			h.reasons <- err
		}
		return true
	})
	return nil
}

func TestConnectWaits(t *testing.T) {
	path := filepath.Join(t.TempDir(), "etc", "kubernetes", "kubelet.conf")
	reasons := make(chan error, 10)
	done := make(chan error, 1)
	go func() {
		client, err := Connect(t.Context(), path, slog.New(heard{slog.DiscardHandler, reasons}))
		if err == nil && client.CoreV1().RESTClient().Get().URL().Host != "192.0.2.1:6443" {
			err = errors.New("a client of something else")
		}
		done <- err
	}()
	if err := <-reasons; !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the first reason is %v", err)
	}
	if err := atomicfile.Write(path, []byte("clusters: 3"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := <-reasons; !strings.Contains(err.Error(), "read kubeconfig") {
		t.Errorf("the second reason is %v", err)
	}
	if err := atomicfile.Write(path, []byte(kubeconfig), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestConnectGivesUp(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	reasons := make(chan error, 1)
	why := errors.New("the end")
	go func() {
		<-reasons
		cancel(why)
	}()
	_, err := Connect(ctx, filepath.Join(t.TempDir(), "none"), slog.New(heard{slog.DiscardHandler, reasons}))
	if !errors.Is(err, why) {
		t.Errorf("error %v", err)
	}
}
