package identity

import (
	"context"
	"errors"
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

func TestClientWaits(t *testing.T) {
	path := filepath.Join(t.TempDir(), "etc", "kubernetes", "kubelet.conf")
	reasons := make(chan error, 10)
	done := make(chan error, 1)
	go func() {
		c, err := NewClient(t.Context(), ClientOptions{Kubeconfig: path, Rotate: true, Waiting: func(err error) { reasons <- err }})
		if err == nil && (c.Config.Host != "https://192.0.2.1:6443" || c.Config.QPS != 50 || c.Config.ContentType != protobuf || c.API == nil) {
			err = errors.New("configuration " + c.Config.String())
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

func TestClientGivesUp(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("the end")
	_, err := NewClient(ctx, ClientOptions{
		Kubeconfig: filepath.Join(t.TempDir(), "none"), Waiting: func(error) { cancel(why) },
	})
	if !errors.Is(err, why) {
		t.Errorf("error %v", err)
	}
}
