//go:build vm

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"boot.internal/e2e/internal/vm"
)

// How long things may take. The machine is emulated, and whoever runs it may have
// little to spare.
const (
	quick = 10 * time.Minute  // a command
	slow  = 45 * time.Minute  // pods that start or end, and the machine itself
	birth = 120 * time.Minute // a cluster
)

// A host is the machine of one test.
type host struct {
	*vm.Machine
	dir string
}

// newHost starts a machine that has the images of these components, all if none is
// named.
func newHost(t *testing.T, images ...string) host {
	t.Helper()
	dir := t.TempDir()
	files, err := vm.Files(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	m, err := vm.New(t.Context(), vm.Options{Dir: dir, Files: files})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	h := host{m, dir}
	t.Cleanup(func() {
		if t.Failed() {
			console, _ := os.ReadFile(filepath.Join(dir, "console.log"))
			t.Logf("the console said:\n%s", tail(string(console), 3000))
		}
	})
	h.start(t)
	if len(images) == 0 {
		images = []string{"*"}
	}
	h.sh(t, quick, "mkdir -p /var/lib/boot/images")
	for _, i := range images {
		h.sh(t, quick, "ln -s /payload/images/"+i+".tar /var/lib/boot/images/")
	}
	return h
}

// start switches the machine on, and waits until systemd has started all there is.
func (h host) start(t *testing.T) {
	t.Helper()
	if err := h.Start(); err != nil {
		t.Fatal(err)
	}
	h.sh(t, slow, "systemctl is-system-running --wait || systemctl --failed")
}

// down waits until the machine, which was told to, has gone down.
func (h host) down(t *testing.T) {
	t.Helper()
	if err := h.Off(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// sh runs a script, which is to succeed, and returns its output.
func (h host) sh(t *testing.T, limit time.Duration, script string) string {
	t.Helper()
	out, err := h.try(t, limit, script)
	if err != nil {
		t.Fatalf("%s: %v\n%s", script, err, tail(out, 3000))
	}
	return out
}

func (h host) try(t *testing.T, limit time.Duration, script string) (string, error) {
	t.Helper()
	out, err := h.Run(t.Context(), limit, nil, "sh", "-c", script)
	if err == nil && out.Code != 0 {
		err = fmt.Errorf("exit code %d", out.Code)
	}
	return out.Stdout + out.Stderr, err
}

// until runs a script until check finds its output well.
func (h host) until(t *testing.T, limit time.Duration, script string, check func(out string) error) {
	t.Helper()
	for end := time.Now().Add(limit); ; {
		out, err := h.try(t, quick, script)
		if err == nil {
			err = check(out)
		}
		if err == nil {
			return
		}
		if time.Now().After(end) {
			journal, _ := h.try(t, quick, "journalctl --no-pager -o cat -u boot-kubelet -n 40 | cut -c1-300")
			t.Fatalf("%s: not within %s: %v\n%s\nthe loop said:\n%s", script, limit, err, tail(out, 2000), journal)
		}
		_, _ = h.try(t, quick, "sleep 1") // by its clock: who has little to spare is asked less
	}
}

// has returns a check for all parts.
func has(parts ...string) func(string) error {
	return func(out string) error {
		for _, p := range parts {
			if !strings.Contains(out, p) {
				return errors.New("there is no " + p)
			}
		}
		return nil
	}
}

func tail(text string, n int) string { return text[max(0, len(text)-n):] }
