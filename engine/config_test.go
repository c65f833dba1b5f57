package engine

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func TestConfig(t *testing.T) {
	for name, h := range map[string]host{
		"plain":            {sysResource: true, overlay: true},
		"systemd-v2":       {sysResource: true, overlay: true, systemd: true, unified: true},
		"systemd-v1":       {sysResource: true, overlay: true, systemd: true},
		"no-sys-resource":  {overlay: true},
		"no-overlay":       {sysResource: true},
		"nothing-to-spare": {},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := configFor(Options{}.withDefaults(), h, "/var/lib/boot/engine/DIGEST").render()
			if err != nil {
				t.Fatal(err)
			}
			golden(t, filepath.Join("testdata", "config", name+".toml"), got)
		})
	}
}

func TestCgroupDriver(t *testing.T) {
	modern, plain := host{systemd: true, unified: true}, host{unified: true}
	for _, tt := range []struct {
		name    string
		h       host
		driver  string
		systemd bool
	}{
		{"what suits systemd", modern, "", true},
		{"what suits systemd on version 1", host{systemd: true}, "", false},
		{"what suits a host without systemd", plain, "", false},
		{"cgroupfs beside systemd", modern, "cgroupfs", false},
		{"systemd on version 1", host{systemd: true}, "systemd", true},
		{"systemd where there is none", plain, "systemd", false},
	} {
		if got := configFor(Options{CgroupDriver: tt.driver}.withDefaults(), tt.h, "/b").SystemdCgroup; got != tt.systemd {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
}

// golden compares with what was once found right; -update finds it right.
func golden(t *testing.T, path string, got []byte) {
	t.Helper()
	if *update {
		mkdir(t, filepath.Dir(path))
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

// Everything boot's own engine keeps follows its two directories.
func TestConfigFollowsTheDirectories(t *testing.T) {
	o := Options{Dir: "/n1/lib", RunDir: "/n1/run", CNIConfDir: "/n1/cni", MirrorsDir: "/n1/certs.d"}.withDefaults()
	text, err := configFor(o, host{overlay: true}, "/n1/lib/engine/D").render()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if strings.Contains(line, `"/var/`) || strings.Contains(line, `"/run/`) || strings.Contains(line, `"/etc/c`) {
			if !strings.HasPrefix(strings.TrimSpace(line), "cdi_spec_dirs") {
				t.Errorf("outside of them: %s", line)
			}
		}
	}
}

func TestEffectiveCaps(t *testing.T) {
	path := filepath.Join(t.TempDir(), "status")
	write(t, path, []byte("Name:\tx\nCapPrm:\t0000000000000000\nCapEff:\t000001fffeffffff\n"))
	got, err := effectiveCaps(path)
	if err != nil || got != 0x1fffeffffff {
		t.Fatalf("got %x, %v", got, err)
	}
	write(t, path, []byte("Name:\tx\n"))
	_, err = effectiveCaps(path)
	wantParts(t, err, "no CapEff")
}
