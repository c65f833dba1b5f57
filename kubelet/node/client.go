package node

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/fsnotify/fsnotify"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// ClientOptions say how to reach the API server.
type ClientOptions struct {
	Kubeconfig string
	QPS        float32 // kubeAPIQPS; 0 is that of the kubelet, below 0 no limit
	Burst      int     // kubeAPIBurst
	UserAgent  string
	// Waiting is called with each new reason for which there is no client yet.
	// May be nil.
	Waiting func(error)
}

// What the kubelet allows itself.
const (
	defaultQPS   = 50
	defaultBurst = 100

	protobuf = "application/vnd.kubernetes.protobuf"
)

// Client waits until there is a usable kubeconfig and returns its configuration
// and a client made of it. The certificate files it names are read again
// whenever they change. The only error is that of ctx.
func Client(ctx context.Context, o ClientOptions) (*rest.Config, kubernetes.Interface, error) {
	var config *rest.Config
	var client kubernetes.Interface
	said := ""
	try := func() bool {
		var err error
		if config, client, err = connect(o); err == nil {
			return true
		}
		if o.Waiting != nil && err.Error() != said {
			said = err.Error()
			o.Waiting(err)
		}
		return false
	}
	if err := await(ctx, o.Kubeconfig, try); err != nil {
		return nil, nil, fmt.Errorf("wait for %s: %w", o.Kubeconfig, err)
	}
	return config, client, nil
}

// connect makes a client of the kubeconfig as it is now.
func connect(o ClientOptions) (*rest.Config, kubernetes.Interface, error) {
	if _, err := os.Stat(o.Kubeconfig); err != nil {
		return nil, nil, fmt.Errorf("no kubeconfig yet: %w", err)
	}
	config, err := clientcmd.BuildConfigFromFlags("", o.Kubeconfig)
	if err != nil {
		return nil, nil, fmt.Errorf("read kubeconfig %s: %w", o.Kubeconfig, err)
	}
	config.QPS, config.Burst = o.QPS, o.Burst
	if config.QPS == 0 {
		config.QPS = defaultQPS
	}
	if config.Burst == 0 {
		config.Burst = defaultBurst
	}
	config.UserAgent = o.UserAgent
	config.ContentType, config.AcceptContentTypes = protobuf, protobuf+",application/json"
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, nil, fmt.Errorf("use kubeconfig %s: %w", o.Kubeconfig, err)
	}
	return config, client, nil
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
	defer func() { _ = w.Close() }() // it only watched
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
