package lab

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path"
	"strings"
	"sync"
	"testing"
	"time"
)

// A Registry hands out testbox as an image of any name to whoever has a login. It
// is on the loopback of a node, over HTTP. Its image is like no other: it has an
// ID of its own.
type Registry struct {
	Addr string // host and port

	blobs    map[string][]byte // by digest
	manifest string            // digest

	mu     sync.Mutex
	logins map[string]string // passwords by user; nil lets everybody in
	pulled []string          // by whom, for each time somebody asked for the manifest
}

// NewRegistry starts a registry on a node, for as long as the test runs.
func (n *Node) NewRegistry(t testing.TB, logins map[string]string) *Registry {
	t.Helper()
	r := &Registry{blobs: map[string][]byte{}, logins: logins}
	if err := r.load(Component(t, "images/testbox.tar"), t.Name()); err != nil {
		t.Fatalf("make the image of a registry: %v", err)
	}
	l, err := n.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r.Addr = l.Addr().String()
	server := &http.Server{Handler: http.HandlerFunc(r.serve), ReadHeaderTimeout: time.Minute}
	done := make(chan error, 1)
	go func() { done <- server.Serve(l) }()
	t.Cleanup(func() {
		if err := errors.Join(server.Close(), <-done); !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	return r
}

// Pulled returns by whom the image was asked for, once each time.
func (r *Registry) Pulled() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string(nil), r.pulled...)
}

// Image returns the reference of an image of this registry.
func (r *Registry) Image(name string) string { return r.Addr + "/" + name }

// Login returns the text of a .docker/config.json with a login.
func (r *Registry) Login(user, password string) string {
	return fmt.Sprintf(`{"auths":{%q:{"username":%q,"password":%q}}}`, r.Addr, user, password)
}

// A descriptor points at a blob.
type descriptor struct {
	MediaType string `json:"mediaType"`
	Size      int    `json:"size"`
	Digest    string `json:"digest"`
}

// load reads an archive of an OCI layout and labels its image.
func (r *Registry) load(archive, label string) error {
	f, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // it was only read
	var index struct{ Manifests []descriptor }
	for tr := tar.NewReader(f); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		data, err := io.ReadAll(tr)
		if err != nil {
			return err
		}
		if h.Name == "index.json" {
			if err := json.Unmarshal(data, &index); err != nil {
				return err
			}
		}
		r.blobs["sha256:"+path.Base(h.Name)] = data
	}
	if len(index.Manifests) != 1 {
		return fmt.Errorf("%s holds %d images", archive, len(index.Manifests))
	}
	return r.label(index.Manifests[0].Digest, label)
}

// label gives the image another configuration.
func (r *Registry) label(digest, label string) error {
	var manifest map[string]any
	if err := json.Unmarshal(r.blobs[digest], &manifest); err != nil {
		return err
	}
	config, ok := manifest["config"].(map[string]any)
	if !ok {
		return errors.New("the manifest has no configuration")
	}
	var image map[string]any
	if err := json.Unmarshal(r.blobs[fmt.Sprint(config["digest"])], &image); err != nil {
		return err
	}
	image["author"] = label
	data, err := json.Marshal(image)
	if err != nil {
		return err
	}
	config["digest"], config["size"] = r.add(data), len(data)
	if data, err = json.Marshal(manifest); err != nil {
		return err
	}
	r.manifest = r.add(data)
	return nil
}

func (r *Registry) add(data []byte) (digest string) {
	digest = fmt.Sprintf("sha256:%x", sha256.Sum256(data))
	r.blobs[digest] = data
	return digest
}

// serve answers what a client asks that pulls.
func (r *Registry) serve(w http.ResponseWriter, q *http.Request) {
	user, password, _ := q.BasicAuth()
	if !r.allows(user, password) {
		w.Header().Set("WWW-Authenticate", `Basic realm="lab"`)
		http.Error(w, `{"errors":[{"code":"UNAUTHORIZED"}]}`, http.StatusUnauthorized)
		return
	}
	kind, digest := "application/octet-stream", path.Base(q.URL.Path)
	if strings.Contains(q.URL.Path, "/manifests/") {
		kind = "application/vnd.oci.image.manifest.v1+json"
		if !strings.HasPrefix(digest, "sha256:") {
			digest = r.manifest
		}
		r.note(user, q.Method)
	}
	if q.URL.Path == "/v2/" {
		return
	}
	data, ok := r.blobs[digest]
	if !ok {
		http.NotFound(w, q)
		return
	}
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Docker-Content-Digest", digest)
	w.Header().Set("Content-Length", fmt.Sprint(len(data)))
	if q.Method == http.MethodGet {
		_, _ = w.Write(data) // whoever has gone does not want it
	}
}

func (r *Registry) allows(user, password string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	want, known := r.logins[user]
	return r.logins == nil || known && password == want
}

func (r *Registry) note(user, method string) {
	if method != http.MethodHead {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pulled = append(r.pulled, user)
}
