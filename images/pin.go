package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"golang.org/x/mod/modfile"
)

// pin writes the versions into the wrapper modules and tidies them. The time
// that everything is stamped with becomes that of the Kubernetes release.
func pin(ctx context.Context, src string, v Versions) error {
	if err := pinEpoch(ctx, filepath.Join(src, "versions.env"), v["KUBERNETES"]); err != nil {
		return fmt.Errorf("pin the time of release: %w", err)
	}
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

func pinEpoch(ctx context.Context, name, kubernetes string) error {
	said, err := wrapKubernetes().download(ctx, kubernetes)
	if err != nil {
		return err
	}
	text, err := os.ReadFile(said.Info)
	if err != nil {
		return err
	}
	var info struct{ Time time.Time }
	if err := json.Unmarshal(text, &info); err != nil {
		return fmt.Errorf("parse %s: %w", said.Info, err)
	}
	versions, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	line := fmt.Appendf(nil, "SOURCE_DATE_EPOCH=%d", info.Time.Unix())
	return replace(name, regexp.MustCompile(`(?m)^SOURCE_DATE_EPOCH=.*$`).ReplaceAll(versions, line))
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
	said, err := w.download(ctx, version)
	if err != nil {
		return err
	}
	component, err := readModule(said.GoMod)
	if err != nil {
		return err
	}
	staging := map[string]bool{}
	for _, r := range component.Replace {
		staging[r.Old.Path] = strings.HasPrefix(r.New.Path, "./staging/")
	}
	for _, r := range mod.Replace {
		if staging[r.Old.Path] {
			continue
		}
		if err := mod.DropReplace(r.Old.Path, r.Old.Version); err != nil {
			return err
		}
	}
	for _, name := range sortedKeys(staging) {
		if !staging[name] {
			continue
		}
		if err := mod.AddReplace(name, "", name, "v0."+strings.TrimPrefix(version, "v1.")); err != nil {
			return err
		}
	}
	return nil
}

// A download is where the go command has left what it knows of a module.
type download struct {
	Info, GoMod string // files
	Error       string
}

func (w Wrapper) download(ctx context.Context, version string) (download, error) {
	var said download
	// Outside of any module, so that none is changed.
	out, err := goIn(ctx, os.TempDir(), "mod", "download", "-json", w.Module+"@"+version).Output()
	if err := errors.Join(err, json.Unmarshal(out, &said)); err != nil {
		return said, fmt.Errorf("download %s@%s: %w %s", w.Module, version, err, said.Error)
	}
	return said, nil
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
