package node

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/fsnotify/fsnotify"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

// protobuf is what clients speak: half the size of JSON, and less work.
const protobuf = "application/vnd.kubernetes.protobuf"

// Connect waits until there is a usable kubeconfig and returns a client made of
// it. The certificate files it names are read again whenever they change. Each
// new reason for waiting is logged; the only error is that of ctx.
func Connect(ctx context.Context, kubeconfig string, log *slog.Logger) (kubernetes.Interface, error) {
	var client kubernetes.Interface
	said := ""
	try := func() bool {
		var err error
		if client, err = newClient(kubeconfig); err == nil {
			return true
		}
		if err.Error() != said {
			said = err.Error()
			log.Info("wait for a way to the API server", slog.Any("err", err))
		}
		return false
	}
	if err := await(ctx, kubeconfig, try); err != nil {
		return nil, fmt.Errorf("wait for %s: %w", kubeconfig, err)
	}
	return client, nil
}

// newClient makes a client of the kubeconfig as it is now.
func newClient(kubeconfig string) (kubernetes.Interface, error) {
	if _, err := os.Stat(kubeconfig); err != nil {
		return nil, fmt.Errorf("no kubeconfig yet: %w", err)
	}
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("read kubeconfig %s: %w", kubeconfig, err)
	}
	config.QPS = -1 // the API server is fair by itself, and everything here limits what it has under way
	config.UserAgent = "boot"
	config.ContentType, config.AcceptContentTypes = protobuf, protobuf+",application/json"
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("use kubeconfig %s: %w", kubeconfig, err)
	}
	return client, nil
}

// await calls try now and whenever something changes at path or on the way to
// it, until it returns true or ctx ends.
func await(ctx context.Context, path string, try func() bool) error {
	if try() {
		return nil
	}
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("watch: %w", err)
	}
	defer w.Close()
	for {
		if err := follow(w, filepath.Dir(path)); err != nil {
			return err
		}
		if try() { // after the watch was set: nothing falls in between
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case err := <-w.Errors:
			return fmt.Errorf("watch: %w", err)
		case <-w.Events:
		}
	}
}

// follow watches dir, or the nearest directory above it that exists. Watching
// one more than needed only costs a look.
func follow(w *fsnotify.Watcher, dir string) error {
	for {
		err := w.Add(dir)
		if err == nil {
			return nil
		}
		if !os.IsNotExist(err) || dir == filepath.Dir(dir) {
			return fmt.Errorf("watch %s: %w", dir, err)
		}
		dir = filepath.Dir(dir)
	}
}
