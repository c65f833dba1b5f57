package main

import (
	"path"
	"path/filepath"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"boot.internal/images/pack"
)

const registry = "registry.k8s.io/"

// archivePath is where the archive of an image is: images/kube-proxy.tar.
func archivePath(image string) string {
	name, _, _ := strings.Cut(path.Base(image), ":")
	return "images/" + name + ".tar"
}

// extraPath is where the archive of an image is that no cluster needs, but
// tests do: extras/prometheus.tar.
func extraPath(image string) string {
	return "extras/" + path.Base(archivePath(image))
}

// The users that the images run as, by number, so that the kubelet can tell
// that they are not root.
const (
	nonroot = "65532:65532"
	nobody  = "65535:65535"
)

const searchPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// base is what every image but pause's has.
func base() pack.Tree {
	return pack.Tree{
		pack.Text("etc/passwd", "root:x:0:0:root:/root:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin\n"),
		pack.Text("etc/group", "root:x:0:\nnonroot:x:65532:\n"),
		pack.Dir("root", 0o700),
		pack.Sticky("tmp", 0o777),
	}
}

// service is the recipe of an image for programs in /usr/local/bin, the first
// of which is what it runs.
func service(name, dir string, programs ...string) pack.Recipe {
	root := base()
	for _, p := range programs {
		root = append(root, pack.Executable("usr/local/bin/"+p, filepath.Join(dir, p)))
	}
	return pack.Recipe{Name: name, Root: root, Config: v1.Config{
		Entrypoint: []string{"/usr/local/bin/" + programs[0]},
		Env:        []string{searchPath},
		WorkingDir: "/",
	}}
}
