package nstest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Engine returns the packed container engine: $BOOT_ENGINE, or that among the
// components which `make images` built.
func Engine(t *testing.T) string {
	t.Helper()
	if path := os.Getenv("BOOT_ENGINE"); path != "" {
		return path
	}
	return component(t, "engine.tar.zst")
}

// Image returns the archive of an image, such as "pause", among the components
// which `make images` built.
func Image(t *testing.T, name string) string {
	t.Helper()
	return component(t, filepath.Join("images", name+".tar"))
}

// component fails the test where there is none: a test of the real thing that
// runs without it shows nothing.
func component(t *testing.T, name string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "make", "-s", "images-dir")
	cmd.Dir = moduleRoot(t)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("ask make for the built components: %v; run `make images`", err)
	}
	path := filepath.Join(strings.TrimSpace(string(out)), name)
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("%v; run `make images`", err)
	}
	return path
}

func moduleRoot(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for ; dir != "/"; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "Makefile")); err == nil {
			return dir
		}
	}
	t.Fatal("not inside the module")
	return ""
}
