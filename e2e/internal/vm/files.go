package vm

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Files returns what a machine is given to try boot: boot itself ($BOOT_BIN or bin/boot),
// kubectl, the images of the components, and the agent, which is built into dir.
func Files(ctx context.Context, dir string) (map[string]string, error) {
	module, err := output(ctx, "go", "list", "-m", "-f", "{{.Dir}}")
	if err != nil {
		return nil, err
	}
	components, err := output(ctx, filepath.Join(module, "images/dir.sh"))
	if err != nil {
		return nil, err
	}
	agent := filepath.Join(dir, "agent")
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", agent, "boot.internal/e2e/vm/agent")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build the agent: %w: %s", err, out)
	}
	boot := os.Getenv("BOOT_BIN")
	if boot == "" {
		boot = filepath.Join(module, "bin/boot")
	}
	images, err := filepath.Glob(filepath.Join(components, "images/*.tar"))
	if err == nil && len(images) == 0 {
		err = errors.New("there are no images: run `make images`")
	}
	files := map[string]string{"agent": agent, "boot": boot, "kubectl": filepath.Join(components, "bin/kubectl")}
	for _, i := range images {
		files["images/"+filepath.Base(i)] = i
	}
	return files, err
}

func output(ctx context.Context, name string, args ...string) (string, error) {
	out, err := exec.CommandContext(ctx, name, args...).Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w", name, err)
	}
	return strings.TrimSpace(string(out)), nil
}
