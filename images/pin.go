package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/mod/modfile"
)

// pin writes the versions into the wrapper modules and tidies them.
func pin(ctx context.Context, src string, v Versions) error {
	dirs := map[string]bool{}
	for _, w := range wrappers() {
		if err := w.edit(ctx, src, v[w.Version]); err != nil {
			return fmt.Errorf("pin %s: %w", w.Module, err)
		}
		dirs[w.Dir] = true
	}
	for _, dir := range sortedKeys(dirs) {
		if err := run(goIn(ctx, filepath.Join(src, dir), "mod", "tidy")); err != nil {
			return err
		}
	}
	return nil
}

// edit requires the component's version, and drops what earlier versions of it
// required: `go mod tidy` finds that anew, and would never go back on it.
func (w Wrapper) edit(ctx context.Context, src, version string) error {
	name := filepath.Join(src, w.Dir, "go.mod")
	mod, err := readModule(name)
	if err != nil {
		return err
	}
	for _, r := range mod.Require {
		if r.Indirect {
			if err := mod.DropRequire(r.Mod.Path); err != nil {
				return err
			}
		}
	}
	if err := mod.AddRequire(w.Module, version); err != nil {
		return err
	}
	if err := w.replaceStaging(ctx, mod, version); err != nil {
		return err
	}
	mod.Cleanup()
	text, err := mod.Format()
	if err != nil {
		return err
	}
	return replace(name, text)
}

// replaceStaging replaces what the component replaces with directories of its
// own by the modules that are published from these. That is how Kubernetes is
// laid out: its v1.37.2 contains the v0.37.2 of its staging modules.
func (w Wrapper) replaceStaging(ctx context.Context, mod *modfile.File, version string) error {
	component, err := w.download(ctx, version)
	if err != nil {
		return err
	}
	for _, r := range mod.Replace {
		if err := mod.DropReplace(r.Old.Path, r.Old.Version); err != nil {
			return err
		}
	}
	staging := "v0." + strings.TrimPrefix(version, "v1.")
	for _, r := range component.Replace {
		if !strings.HasPrefix(r.New.Path, "./staging/") {
			continue
		}
		if err := mod.AddReplace(r.Old.Path, "", r.Old.Path, staging); err != nil {
			return err
		}
	}
	return nil
}

// download returns the component's own go.mod.
func (w Wrapper) download(ctx context.Context, version string) (*modfile.File, error) {
	var said struct{ GoMod, Error string }
	// Outside of any module, so that none is changed.
	out, err := goIn(ctx, os.TempDir(), "mod", "download", "-json", w.Module+"@"+version).Output()
	if err := errors.Join(json.Unmarshal(out, &said), err); err != nil {
		return nil, fmt.Errorf("download %s@%s: %w %s", w.Module, version, err, said.Error)
	}
	return readModule(said.GoMod)
}

func readModule(name string) (*modfile.File, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	return modfile.Parse(name, text, nil)
}

// goIn is a run of the go command in a directory, whatever workspace that is in.
func goIn(ctx context.Context, dir string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=")
	return cmd
}
