package main

import (
	"context"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"boot.internal/images/pack"
)

func wrapKubernetes() Wrapper { return Wrapper{"kubernetes", "k8s.io/kubernetes", "KUBERNETES"} }

func kubeImage(v Versions, name string) string { return registry + name + ":" + v["KUBERNETES"] }

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
