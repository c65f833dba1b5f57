package main

import (
	"context"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"boot.internal/images/pack"
)

const registry = "registry.k8s.io/"

// wrappers lists the modules that pin the components.
func wrappers() []Wrapper {
	return []Wrapper{
		wrapKubernetes(), wrapEtcd("server"), wrapEtcd("etcdctl"), wrapEtcd("etcdutl"), wrapCoreDNS(),
		wrapContainerd(), wrapRunc(), wrapCNI(),
	}
}

func wrapKubernetes() Wrapper { return Wrapper{"kubernetes", "k8s.io/kubernetes", "KUBERNETES"} }
func wrapCoreDNS() Wrapper    { return Wrapper{"coredns", "github.com/coredns/coredns", "COREDNS"} }
func wrapRunc() Wrapper       { return Wrapper{"runc", "github.com/opencontainers/runc", "RUNC"} }

func wrapContainerd() Wrapper {
	return Wrapper{"containerd", "github.com/containerd/containerd/v2", "CONTAINERD"}
}

func wrapCNI() Wrapper {
	return Wrapper{"cni", "github.com/containernetworking/plugins", "CNI_PLUGINS"}
}

// wrapEtcd is one of the modules of etcd, which share a wrapper and a version.
func wrapEtcd(module string) Wrapper {
	return Wrapper{"etcd", "go.etcd.io/etcd/" + module + "/v3", "ETCD"}
}

// steps lists what is made, in the order in which people wait for it.
func steps(upstream bool) []step {
	all := []step{
		{"engine", []string{"containerd", "runc", "cni"}, makeEngine},
		{"pause", []string{"pause"}, makePause},
		{"testbox", []string{"testbox"}, makeTestbox},
		{"kubernetes", []string{"kubernetes"}, makeKubernetes},
		{"etcd", []string{"etcd"}, makeEtcd},
		{"coredns", []string{"coredns"}, makeCoreDNS},
	}
	if upstream {
		all = append(all, step{"upstream", []string{"kubernetes"}, makeUpstream})
	}
	return all
}

// bundle packs the released images into one archive, once they are all there.
func bundle(v Versions) step {
	merge := func(_ context.Context, b *bench) error {
		var archives []string
		for _, name := range releaseImages(v) {
			archives = append(archives, filepath.Join(b.dir, archivePath(name)))
		}
		return b.write("bundle.tar.zst", func(w io.Writer) error {
			return pack.Merge(w, b.epoch, archives...)
		})
	}
	return step{"bundle", []string{"pause", "kubernetes", "etcd", "coredns"}, merge}
}

// releaseImages are the names of the images of a cluster, as kubeadm has them.
func releaseImages(v Versions) []string {
	return []string{
		kubeImage(v, "kube-apiserver"), kubeImage(v, "kube-controller-manager"),
		kubeImage(v, "kube-scheduler"), kubeImage(v, "kube-proxy"),
		etcdImage(v), corednsImage(v), pauseImage(v),
	}
}

func kubeImage(v Versions, name string) string { return registry + name + ":" + v["KUBERNETES"] }
func etcdImage(v Versions) string              { return registry + "etcd:" + v["ETCD_IMAGE"] }
func corednsImage(v Versions) string           { return registry + "coredns/coredns:" + v["COREDNS"] }
func pauseImage(v Versions) string             { return registry + "pause:" + v["PAUSE_IMAGE"] }
func testboxImage(v Versions) string           { return "boot.internal/testbox:" + v["TESTBOX_IMAGE"] }

// archivePath is where the archive of an image is: images/kube-proxy.tar.
func archivePath(image string) string {
	name, _, _ := strings.Cut(path.Base(image), ":")
	return "images/" + name + ".tar"
}

// makeEngine builds the container engine: as programs to run from here, and
// packed as one flat directory for boot to carry.
func makeEngine(ctx context.Context, b *bench) error {
	var engine pack.Tree
	for _, c := range engineBuilds(b.versions) {
		dir, err := b.compile(ctx, c)
		if err != nil {
			return err
		}
		programs, err := os.ReadDir(dir)
		if err != nil {
			return err
		}
		for _, p := range programs {
			file := filepath.Join(dir, p.Name())
			engine = append(engine, pack.Executable(p.Name(), file))
			if err := b.ship(file, "engine/bin/"+p.Name()); err != nil {
				return err
			}
		}
	}
	return b.write("engine.tar.zst", func(w io.Writer) error { return packEngine(w, engine, b.epoch) })
}

func packEngine(w io.Writer, engine pack.Tree, mtime time.Time) error {
	zw, err := pack.Compress(w, pack.EngineWindow)
	if err != nil {
		return err
	}
	if err := engine.WriteTar(zw, mtime); err != nil {
		return err
	}
	return zw.Close()
}

func engineBuilds(v Versions) []Build {
	containerd := wrapContainerd().Module
	cni := wrapCNI().Module
	return []Build{{
		Wrapper:  wrapContainerd(),
		Packages: []string{containerd + "/cmd/containerd", containerd + "/cmd/containerd-shim-runc-v2", containerd + "/cmd/ctr"},
		// boot uses overlayfs or the native snapshotter, and exports no traces.
		Tags: []string{"static_build", "netgo", "osusergo", "no_btrfs", "no_devmapper", "no_zfs", "no_tracing"},
		Stamp: map[string]string{
			containerd + "/version.Version":  v["CONTAINERD"],
			containerd + "/version.Revision": v["CONTAINERD"],
		},
	}, {
		Wrapper:  wrapRunc(),
		Packages: []string{wrapRunc().Module},
		Tags:     []string{"seccomp", "netgo", "osusergo", "urfave_cli_no_docs"},
		Stamp:    map[string]string{"main.gitCommit": v["RUNC"]},
		Cgo:      true, // for libseccomp, and for what has to run before Go's runtime
	}, {
		Wrapper: wrapCNI(),
		Packages: []string{
			cni + "/plugins/main/bridge", cni + "/plugins/main/loopback",
			cni + "/plugins/ipam/host-local", cni + "/plugins/meta/portmap",
		},
		Stamp: map[string]string{cni + "/pkg/utils/buildversion.BuildVersion": v["CNI_PLUGINS"]},
	}}
}

func makeKubernetes(ctx context.Context, b *bench) error {
	firewall := filepath.Join(b.work, "firewall")
	var programs string
	group, gctx := errgroup.WithContext(ctx)
	group.Go(func() error { return unpackFirewall(gctx, filepath.Join(b.work, "debs"), firewall) })
	group.Go(func() (err error) {
		programs, err = b.compile(gctx, kubernetes(b, "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy", "kubectl"))
		return err
	})
	if err := group.Wait(); err != nil {
		return err
	}
	if err := b.ship(filepath.Join(programs, "kubectl"), "bin/kubectl"); err != nil {
		return err
	}
	recipes, err := kubeRecipes(b.versions, programs, firewall)
	if err != nil {
		return err
	}
	var packing errgroup.Group
	for _, r := range recipes {
		packing.Go(func() error { return b.archive(r) })
	}
	return packing.Wait()
}

// makeUpstream builds the programs that boot stands in for, to compare with.
func makeUpstream(ctx context.Context, b *bench) error {
	programs, err := b.compile(ctx, kubernetes(b, "kubeadm", "kubelet"))
	if err != nil {
		return err
	}
	for _, name := range []string{"kubeadm", "kubelet"} {
		if err := b.ship(filepath.Join(programs, name), "bin/"+name); err != nil {
			return err
		}
	}
	return nil
}

func kubernetes(b *bench, commands ...string) Build {
	v := b.versions["KUBERNETES"]
	major, minor := minor(v)
	c := Build{Wrapper: wrapKubernetes(), Stamp: map[string]string{}}
	for _, name := range commands {
		c.Packages = append(c.Packages, c.Wrapper.Module+"/cmd/"+name)
	}
	// The same five facts are kept twice: by components, and by client-go for its user agent.
	for _, pkg := range []string{"k8s.io/component-base/version", "k8s.io/client-go/pkg/version"} {
		c.Stamp[pkg+".gitVersion"] = v
		c.Stamp[pkg+".gitMajor"] = major
		c.Stamp[pkg+".gitMinor"] = minor
		c.Stamp[pkg+".gitCommit"] = v
		c.Stamp[pkg+".gitTreeState"] = "clean"
		c.Stamp[pkg+".buildDate"] = b.epoch.Format(time.RFC3339)
	}
	return c
}

func makeEtcd(ctx context.Context, b *bench) error {
	programs, err := b.compile(ctx, Build{
		Wrapper:  wrapEtcd("server"),
		Packages: []string{"go.etcd.io/etcd/server/v3", "go.etcd.io/etcd/etcdctl/v3", "go.etcd.io/etcd/etcdutl/v3"},
		Stamp:    map[string]string{"go.etcd.io/etcd/api/v3/version.GitSHA": b.versions["ETCD"]},
	})
	if err != nil {
		return err
	}
	if err := os.Rename(filepath.Join(programs, "server"), filepath.Join(programs, "etcd")); err != nil {
		return err
	}
	for _, name := range []string{"etcdctl", "etcdutl"} {
		if err := b.ship(filepath.Join(programs, name), "bin/"+name); err != nil {
			return err
		}
	}
	return b.archive(etcdRecipe(b.versions, programs))
}

func makeCoreDNS(ctx context.Context, b *bench) error {
	programs, err := b.compile(ctx, Build{
		Wrapper:  wrapCoreDNS(),
		Packages: []string{wrapCoreDNS().Module},
		Stamp:    map[string]string{wrapCoreDNS().Module + "/coremain.GitCommit": b.versions["COREDNS"]},
	})
	if err != nil {
		return err
	}
	return b.archive(corednsRecipe(b.versions, filepath.Join(programs, "coredns")))
}

func makePause(ctx context.Context, b *bench) error {
	program := filepath.Join(b.work, "pause")
	if err := compilePause(ctx, filepath.Join(b.src, "pause", "pause.c"), program); err != nil {
		return err
	}
	return b.archive(pauseRecipe(b.versions, program))
}

func makeTestbox(ctx context.Context, b *bench) error {
	programs, err := b.compile(ctx, Build{
		Wrapper:  Wrapper{Dir: "."},
		Packages: []string{"boot.internal/images/testbox"},
	})
	if err != nil {
		return err
	}
	return b.archive(testboxRecipe(b.versions, filepath.Join(programs, "testbox")))
}
