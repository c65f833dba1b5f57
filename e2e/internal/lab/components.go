package lab

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Component returns what `make images` built under the name.
func Component(t testing.TB, name string) string {
	t.Helper()
	return must(FindComponent(t.Context(), name))(t)
}

// BootBinary returns the boot to test.
func BootBinary(t testing.TB) string {
	t.Helper()
	return must(FindBoot(t.Context()))(t)
}

// must fails the test if there is an error.
func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		Must(t, err)
		return v
	}
}

// FindComponent returns what `make images` built under the name. $BOOT_COMPONENTS
// says where that is, if not where make puts it.
func FindComponent(ctx context.Context, name string) (path string, err error) {
	dir := os.Getenv("BOOT_COMPONENTS")
	if dir == "" {
		root, err := moduleRoot(ctx)
		if err != nil {
			return "", err
		}
		if dir, err = output(ctx, "make", "-s", "-C", root, "images-dir"); err != nil {
			return "", err
		}
	}
	return built(filepath.Join(dir, name), "make images")
}

// FindBoot returns the boot to run: $BOOT_BIN, or what `make build` built.
func FindBoot(ctx context.Context) (path string, err error) {
	path = os.Getenv("BOOT_BIN")
	if path == "" {
		root, err := moduleRoot(ctx)
		if err != nil {
			return "", err
		}
		path = filepath.Join(root, "bin/boot")
	}
	return built(path, "make build")
}

// built fails where there is no such file: a test of the real thing that runs
// without it shows nothing.
func built(path, by string) (string, error) {
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("%w; run `%s`", err, by)
	}
	return filepath.Abs(path)
}

func moduleRoot(ctx context.Context) (string, error) {
	mod, err := output(ctx, "go", "env", "GOMOD")
	return filepath.Dir(mod), err
}

func output(ctx context.Context, args ...string) (string, error) {
	out, err := exec.CommandContext(ctx, args[0], args[1:]...).Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w", strings.Join(args, " "), err)
	}
	return strings.TrimSpace(string(out)), nil
}

// Previous returns what `make images-previous` built under the name: a component of
// the minor version of Kubernetes before.
func Previous(t testing.TB, name string) string {
	t.Helper()
	root := must(moduleRoot(t.Context()))(t)
	dir := must(output(t.Context(), filepath.Join(root, "images/previous/dir.sh")))(t)
	return must(built(filepath.Join(dir, name), "make images-previous"))(t)
}
