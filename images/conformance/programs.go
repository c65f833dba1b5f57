package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"boot.internal/images/pack"
)

const (
	kubernetes = "k8s.io/kubernetes"
	testImages = kubernetes + "/test/images/"
	standIns   = "boot.internal/images/conformance/programs/"
)

// programs are the packages of the programs, by the names that their images
// have for them.
func programs() map[string]string {
	return map[string]string{
		"ginkgo":                 "github.com/onsi/ginkgo/v2/ginkgo",
		"agnhost":                testImages + "agnhost",
		"nnp":                    testImages + "nonewprivs",
		"regression-issue-74839": testImages + "regression-issue-74839",
		"sampledeviceplugin":     testImages + "sample-device-plugin",
		"consumer":               testImages + "resource-consumer",
		"consume-cpu":            testImages + "resource-consumer/consume-cpu",
		"sample-apiserver":       "k8s.io/sample-apiserver",

		"csi-node-driver-registrar": standIns + "csi-node-driver-registrar",
		"hostpathplugin":            standIns + "hostpathplugin",
		"livenessprobe":             standIns + "livenessprobe",
	}
}

// compile leaves the test program and those of the images in bin.
func (o order) compile(ctx context.Context, bin string) error {
	if err := os.MkdirAll(bin, 0o755); err != nil {
		return err
	}
	if err := o.goTool(ctx, []string{"test", "-c"}, filepath.Join(bin, "e2e.test"), kubernetes+"/test/e2e"); err != nil {
		return err
	}
	for name, pkg := range programs() {
		if err := o.goTool(ctx, []string{"build"}, filepath.Join(bin, name), pkg); err != nil {
			return err
		}
	}
	for _, s := range sidecars() {
		flags := "-s -w -X main.version=" + s.version
		if err := o.goToolIn(ctx, "sidecars", []string{"build", "-ldflags", flags}, filepath.Join(bin, s.program), s.pkg); err != nil {
			return err
		}
	}
	return nil
}

// goTool runs the compiler in the module that pins the version of Kubernetes.
func (o order) goTool(ctx context.Context, verb []string, program, pkg string) error {
	return o.goToolIn(ctx, "programs", append(verb, "-ldflags", o.ldflags()), program, pkg)
}

// goToolIn runs the compiler in one of the modules that pin versions.
func (o order) goToolIn(ctx context.Context, module string, verb []string, program, pkg string) error {
	args := append(verb, "-trimpath", "-buildvcs=false", "-mod=readonly", "-o", program, pkg)
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = filepath.Join(o.src, module)
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=", "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("compile %s: %w\n%s", pkg, err, out)
	}
	return nil
}

// ldflags stamps the version of Kubernetes: the tests compare it with the
// server's.
func (o order) ldflags() string {
	flags := []string{"-s", "-w"}
	numbers := strings.SplitN(strings.TrimPrefix(o.version, "v"), ".", 3)
	for _, pkg := range []string{"k8s.io/component-base/version", "k8s.io/client-go/pkg/version"} {
		flags = append(flags,
			"-X "+pkg+".gitVersion="+o.version, "-X "+pkg+".gitMajor="+numbers[0], "-X "+pkg+".gitMinor="+numbers[1],
			"-X "+pkg+".gitCommit="+o.version, "-X "+pkg+".gitTreeState=clean", "-X "+pkg+".buildDate="+o.epoch.Format(time.RFC3339))
	}
	return strings.Join(flags, " ")
}

// moduleDir returns where the source of a module is on this machine, which one
// of ours pins.
func (o order) moduleDir(ctx context.Context, ours, module string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", module)
	cmd.Dir = filepath.Join(o.src, ours)
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=")
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("find the source of %s: %w", module, err)
	}
	return strings.TrimSpace(string(out)), nil
}

// known checks that the tests ask for the images by the names they are given
// here, but for the controller of snapshots, which they expect to find, and the
// device plugin of one of their manifests.
func known(ctx context.Context, tests string, recipes []pack.Recipe) error {
	out, err := exec.CommandContext(ctx, tests, "--list-images").Output()
	if err != nil {
		return fmt.Errorf("list the images of the tests: %w", err)
	}
	names := strings.Fields(string(out))
	for _, r := range recipes {
		if !slices.Contains(append(names, registry+manifestPlugin), r.Name) && !strings.Contains(r.Name, snapshotController) {
			return fmt.Errorf("no test asks for %s, but perhaps for another version of %s", r.Name, path.Base(r.Name))
		}
	}
	return nil
}
