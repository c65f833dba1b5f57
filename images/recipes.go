package main

import (
	"context"
	"os/exec"
	"path"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"boot.internal/images/pack"
)

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

func kubeRecipes(v Versions, programs, firewall string) ([]pack.Recipe, error) {
	var all []pack.Recipe
	for _, name := range []string{"kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy"} {
		all = append(all, service(kubeImage(v, name), programs, name))
	}
	tools, err := pack.ReadDir(firewall)
	if err != nil {
		return nil, err
	}
	proxy := &all[len(all)-1]
	proxy.Root = append(proxy.Root, tools...)
	return all, nil
}

func etcdRecipe(v Versions, programs string) pack.Recipe {
	r := service(etcdImage(v), programs, "etcd", "etcdctl", "etcdutl")
	r.Config.ExposedPorts = map[string]struct{}{"2379/tcp": {}, "2380/tcp": {}}
	return r
}

func corednsRecipe(v Versions, program string) pack.Recipe {
	return pack.Recipe{
		Name: corednsImage(v),
		Root: append(base(), pack.Executable("coredns", program).BindsLowPorts()),
		Config: v1.Config{
			Entrypoint:   []string{"/coredns"},
			Env:          []string{searchPath},
			User:         nonroot,
			WorkingDir:   "/",
			ExposedPorts: map[string]struct{}{"53/tcp": {}, "53/udp": {}},
		},
	}
}

func pauseRecipe(v Versions, program string) pack.Recipe {
	return pack.Recipe{
		Name: pauseImage(v),
		Root: pack.Tree{pack.Executable("pause", program)},
		Config: v1.Config{
			Entrypoint: []string{"/pause"},
			Env:        []string{searchPath},
			User:       nobody,
			WorkingDir: "/",
		},
	}
}

// testboxRecipe has the program under the names of its commands, too, as
// probes and hooks in examples call them.
func testboxRecipe(v Versions, program string) pack.Recipe {
	root := append(base(), pack.Executable("testbox", program))
	for _, name := range []string{"cat", "env", "exec-ok", "exit", "get", "id", "log", "ls", "resolve", "sleep", "write"} {
		root = append(root, pack.Symlink(path.Join("bin", name), "/testbox"))
	}
	return pack.Recipe{Name: testboxImage(v), Root: root, Config: v1.Config{
		Entrypoint: []string{"/testbox"},
		Env:        []string{searchPath},
		WorkingDir: "/",
	}}
}

// compilePause compiles the one program that is not written in Go.
func compilePause(ctx context.Context, source, program string) error {
	return run(exec.CommandContext(ctx, "gcc", "-Os", "-Wall", "-Wextra", "-Werror", "-static", "-s", "-o", program, source))
}
