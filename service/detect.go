package service

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// A Kind is what keeps the loop running.
type Kind string

// The kinds; the zero Kind is none.
const (
	Systemd  Kind = "systemd"
	OpenRC   Kind = "openrc"
	Detached Kind = "detached" // no service manager: a supervisor of our own
)

// detect finds out which service manager runs: not which is installed, since
// containers and chroots have one that does not. The signs are those of
// sd_booted(3) and of OpenRC's own scripts.
func detect(root string) (Kind, error) {
	for _, sign := range []struct {
		path string
		kind Kind
	}{
		{"run/systemd/system", Systemd},
		{"run/openrc/softlevel", OpenRC},
	} {
		_, err := os.Stat(filepath.Join(root, sign.path))
		if err == nil {
			return sign.kind, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("find the service manager: %w", err)
		}
	}
	return Detached, nil
}

// command runs a program and returns what it printed.
type command func(ctx context.Context, name string, args ...string) (string, error)

func execute(ctx context.Context, name string, args ...string) (string, error) {
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	text := strings.TrimSpace(string(out))
	if err != nil {
		return text, fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, text)
	}
	return text, nil
}
