package main

import (
	"context"
	"io/fs"
	"path"
	"path/filepath"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"boot.internal/images/pack"
)

const (
	registry = "registry.k8s.io/e2e-test-images/"
	// manifestPlugin is in testing-manifests/sample-device-plugin, and not in the
	// list of images.
	manifestPlugin = "sample-device-plugin:1.8.0"

	searchPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
)

// debianPackages are the packages in the images, where upstream has those of
// Alpine: the names are those of the roots that recipes are made from.
func debianPackages() map[string][]string {
	tools := []string{
		"busybox-static", "bash", "bind9-dnsutils", "curl", "hostname", "iperf", "iproute2",
		"libc-bin", "netcat-openbsd", "socat", "util-linux",
	}
	return map[string][]string{
		"busybox": {"busybox-static", "bash-static"},
		"tools":   tools,
		"debian":  append(slices.Clone(tools), "coreutils"), // which upstream has there as well
		"nginx":   {"busybox-static", "bash-static", "nginx"},
		"stress":  {"busybox-static", "bash-static", "stress"},
	}
}

// recipes are the images, by the names and tags in upstream's
// test/utils/image/manifest.go.
func (o order) recipes(ctx context.Context, bin string, roots map[string]root) ([]pack.Recipe, error) {
	source, err := o.moduleDir(ctx, "programs", kubernetes)
	if err != nil {
		return nil, err
	}
	fake, err := fakeRegistry(filepath.Join(o.images, "pause.tar"))
	if err != nil {
		return nil, err
	}
	busybox, tools := furnish(roots["busybox"]), furnish(roots["tools"])
	agnhost := slices.Concat(tools, agnhostFiles(bin, source), fake)
	program := func(tag, name string, root ...pack.Tree) pack.Recipe {
		files := append(slices.Concat(root...), pack.Executable(name, filepath.Join(bin, name)))
		return image(tag, files, v1.Config{Entrypoint: []string{"/" + name}})
	}
	serve := v1.Config{Entrypoint: []string{"/agnhost"}, Cmd: []string{"pause"}, ExposedPorts: ports("80/tcp", "8080/tcp", "8081/tcp", "9376/tcp", "5000/tcp")}
	picture := func(tag, name string) pack.Recipe {
		html := filepath.Join(source, "test/images", name, "html")
		files := pack.Tree{plain(name+".jpg", filepath.Join(html, name+".jpg")), plain("data.json", filepath.Join(html, "data.json"))}
		return image(tag, slices.Concat(agnhost, files), v1.Config{Entrypoint: serve.Entrypoint, Cmd: []string{"test-webserver"}})
	}
	shell := v1.Config{Cmd: []string{"sh"}}
	return append(storageRecipes(bin, busybox),
		image("agnhost:2.66.1", agnhost, serve),
		image("agnhost:2.55", agnhost, serve),
		image("busybox:1.37.0-2", busybox, shell),
		image("busybox:1.36.1-1", busybox, shell),
		image("nonroot:1.5", busybox, v1.Config{Cmd: []string{"sh"}, User: "1234"}),
		image("ipc-utils:1.4", tools, shell),
		image("glibc-dns-testing:2.1.1", furnish(roots["debian"]), shell),
		image("nonewprivs:1.4", append(slices.Clone(busybox), setuid(pack.Executable("usr/local/bin/nnp", filepath.Join(bin, "nnp")))), v1.Config{Cmd: []string{"nnp"}}),
		image("nginx:1.27.0-2", nginx(roots["nginx"]), nginxConfig()),
		image("nginx:1.28.0-2", nginx(roots["nginx"]), nginxConfig()),
		picture("kitten:1.8", "kitten"),
		picture("nautilus:1.8", "nautilus"),
		program("regression-issue-74839:1.5", "regression-issue-74839", busybox),
		program("sample-device-plugin:1.7", "sampledeviceplugin", busybox),
		program(manifestPlugin, "sampledeviceplugin", busybox),
		program("sample-apiserver:1.29.2", "sample-apiserver", busybox),
		program("resource-consumer:1.14", "consumer", furnish(roots["stress"]), pack.Tree{pack.Executable("consume-cpu", filepath.Join(bin, "consume-cpu"))}),
	), nil
}

// image is a recipe. Its label sets images apart that are the same but for
// their tags: the engine knows an image by its digest, and tests tell by the name
// which of two a container runs.
func image(tag string, root pack.Tree, config v1.Config) pack.Recipe {
	return imageOf(registry, tag, root, config)
}

func imageOf(registry, tag string, root pack.Tree, config v1.Config) pack.Recipe {
	config.Env = append(config.Env, searchPath)
	config.Labels = map[string]string{"tag": tag}
	if config.WorkingDir == "" {
		config.WorkingDir = "/"
	}
	return pack.Recipe{Name: registry + tag, Root: root, Config: config}
}

func ports(all ...string) map[string]struct{} {
	set := map[string]struct{}{}
	for _, p := range all {
		set[p] = struct{}{}
	}
	return set
}

func plain(name, source string) pack.Entry {
	return pack.Entry{Path: name, Mode: 0o644, Source: source}
}

func setuid(e pack.Entry) pack.Entry {
	e.Mode |= fs.ModeSetuid
	return e
}

// agnhostFiles are what the tests expect of the image beside its tools: the
// program under two names, and where its commands keep files.
func agnhostFiles(bin, source string) pack.Tree {
	porter := filepath.Join(source, "test/images/agnhost/porter")
	return pack.Tree{
		pack.Executable("agnhost", filepath.Join(bin, "agnhost")),
		pack.Symlink("agnhost-2", "agnhost"),
		pack.Dir("uploads", 0o755),
		plain("localhost.crt", filepath.Join(porter, "localhost.crt")),
		plain("localhost.key", filepath.Join(porter, "localhost.key")),
	}
}

// furnish gives a root of Debian's what an installer would have: users, name
// service, and BusyBox under the names of all its commands that nothing else
// in the root has. Its shell gives way to Bash: Debian's prefers its own commands
// to better ones of the same name, and keeps variables from programs if it could
// not have set them itself.
func furnish(root root) pack.Tree {
	have := map[string]bool{}
	for _, e := range root.files {
		have[path.Base(e.Path)] = true
	}
	full := append(slices.Clone(root.files),
		pack.Text("etc/passwd", passwd), pack.Text("etc/group", group),
		pack.Text("etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n"),
		pack.Dir("root", 0o700), pack.Dir("home", 0o755), pack.Dir("run", 0o755), pack.Dir("etc/ssl/certs", 0o755),
		pack.Sticky("tmp", 0o777), pack.Sticky("var/tmp", 0o777),
	)
	for _, name := range root.applets {
		switch {
		case have[name]:
		case name == "nc" && have["nc.openbsd"]:
			full = append(full, pack.Symlink("usr/bin/nc", "nc.openbsd"))
		case name == "sh" && have["bash"]:
			full = append(full, pack.Symlink("usr/bin/sh", "bash"))
		case name == "sh" && have["bash-static"]:
			full = append(full, pack.Symlink("usr/bin/sh", "bash-static"))
		default:
			full = append(full, pack.Symlink("usr/bin/"+name, "busybox"))
		}
	}
	return full
}

// The users of BusyBox's image, and the one of agnhost's with a group of its own.
const (
	passwd = `root:x:0:0:root:/root:/bin/sh
daemon:x:1:1:daemon:/usr/sbin:/bin/false
bin:x:2:2:bin:/bin:/bin/false
www-data:x:33:33:www-data:/var/www:/bin/false
nobody:x:65534:65534:nobody:/home:/bin/false
user-defined-in-image:x:1000:1000::/home:/bin/sh
`
	group = `root:x:0:
daemon:x:1:
bin:x:2:
www-data:x:33:
nogroup:x:65534:
user-defined-in-image:x:1000:
group-defined-in-image:x:50000:user-defined-in-image
`
)

// nginx is Debian's server with the paths of the image it stands in for.
func nginx(root root) pack.Tree {
	root.files = slices.DeleteFunc(slices.Clone(root.files), func(e pack.Entry) bool {
		return e.Path == "etc/nginx/nginx.conf" || path.Dir(e.Path) == "usr/share/nginx/html"
	})
	return append(furnish(root),
		pack.Text("etc/nginx/nginx.conf", nginxConf),
		pack.Text("usr/share/nginx/html/index.html", "<!DOCTYPE html>\n<html><head><title>Welcome to nginx!</title></head><body><h1>Welcome to nginx!</h1></body></html>\n"),
		pack.Dir("var/lib/nginx", 0o755),
		pack.Symlink("var/log/nginx/access.log", "/dev/stdout"), pack.Symlink("var/log/nginx/error.log", "/dev/stderr"),
	)
}

func nginxConfig() v1.Config {
	return v1.Config{
		Entrypoint: []string{"nginx"}, Cmd: []string{"-g", "daemon off;"},
		ExposedPorts: ports("80/tcp"), StopSignal: "SIGQUIT",
	}
}

const nginxConf = `user www-data;
worker_processes 1;
pid /run/nginx.pid;
error_log /var/log/nginx/error.log notice;
events { worker_connections 1024; }
http {
    include /etc/nginx/mime.types;
    default_type application/octet-stream;
    access_log /var/log/nginx/access.log;
    keepalive_timeout 65;
    server {
        listen 80;
        listen [::]:80;
        root /usr/share/nginx/html;
        index index.html;
    }
}
`
