package service

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// What a service manager is told to run is what is found to be installed.
func TestInstalled(t *testing.T) {
	want := Installation{
		Executable: "/opt/my boot/boot",
		Args:       []string{"kubelet", "--config", "/etc/50% of $HOME", `it's "quoted" \ twice`, "two words"},
	}
	for kind, sign := range map[Kind]string{Systemd: "run/systemd/system/x", OpenRC: "run/openrc/softlevel"} {
		t.Run(string(kind), func(t *testing.T) {
			o := Options{Executable: want.Executable, Args: want.Args, root: t.TempDir(), RunDir: t.TempDir()}
			touch(t, filepath.Join(o.root, sign))
			if _, err := Installed(o); !errors.Is(err, ErrNotInstalled) {
				t.Errorf("before: %v", err)
			}
			path, text := openrc{o}.path(), openrc{o}.text()
			if kind == Systemd {
				path = systemd{o}.path()
				var err error
				if text, err = (systemd{o}).text(); err != nil {
					t.Fatal(err)
				}
			}
			touch(t, path)
			if err := os.WriteFile(path, text, 0o600); err != nil {
				t.Fatal(err)
			}
			got, err := Installed(Options{root: o.root})
			if diff := cmp.Diff(want, got); err != nil || diff != "" {
				t.Error(err, diff)
			}
		})
	}
}

// Where there is no service manager, the supervisor that runs tells, also once its
// program was replaced.
func TestInstalledDetached(t *testing.T) {
	o := newOptions(t, "ready", "--config", "a b")
	if _, err := Installed(o); !errors.Is(err, ErrNotInstalled) {
		t.Errorf("before: %v", err)
	}
	mustStart(t, manager(t, o))
	got, err := Installed(Options{root: o.root, RunDir: o.RunDir})
	want := Installation{Executable: o.Executable, Args: o.Args}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Error(err, diff)
	}
}
