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
	return nil
}

// goTool runs the compiler in the module that pins the versions.
func (o order) goTool(ctx context.Context, verb []string, program, pkg string) error {
	args := append(verb, "-trimpath", "-buildvcs=false", "-mod=readonly", "-ldflags", o.ldflags(), "-o", program, pkg)
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = filepath.Join(o.src, "programs")
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

// moduleDir returns where the source of Kubernetes is on this machine.
func (o order) moduleDir(ctx context.Context) (string, error) {
	cmd := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", kubernetes)
	cmd.Dir = filepath.Join(o.src, "programs")
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=")
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("find the source of %s: %w", kubernetes, err)
	}
	return strings.TrimSpace(string(out)), nil
}

// known checks that the tests ask for the images by the names they are given
// here.
func known(ctx context.Context, tests string, recipes []pack.Recipe) error {
	out, err := exec.CommandContext(ctx, tests, "--list-images").Output()
	if err != nil {
		return fmt.Errorf("list the images of the tests: %w", err)
	}
	names := strings.Fields(string(out))
	for _, r := range recipes {
		if !slices.Contains(names, r.Name) {
			return fmt.Errorf("no test asks for %s, but perhaps for another version of %s", r.Name, path.Base(r.Name))
		}
	}
	return nil
}
