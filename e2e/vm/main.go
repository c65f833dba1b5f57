// Vm is a machine with systemd and control groups of version 2 to try boot in.
//
//	vm up DIR            starts it, with what is to be tried in /payload, until interrupted
//	vm exec DIR CMD ...  runs a program in it
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"boot.internal/e2e/internal/vm"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	code, err := run(ctx, os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "vm:", err)
		code = 1
	}
	os.Exit(code)
}

func run(ctx context.Context, args []string) (code int, err error) {
	switch {
	case len(args) == 2 && args[0] == "up":
		return 0, up(ctx, args[1])
	case len(args) > 2 && args[0] == "exec":
		out, err := vm.Ask(ctx, args[1], nil, args[2:]...)
		_, _ = io.WriteString(os.Stdout, out.Stdout)
		_, _ = io.WriteString(os.Stderr, out.Stderr)
		return out.Code, err
	default:
		return 0, errors.New("usage: vm up DIR | vm exec DIR CMD [ARG ...]")
	}
}

func up(ctx context.Context, dir string) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	files, err := vm.Files(ctx, dir)
	if err != nil {
		return err
	}
	m, err := vm.New(ctx, vm.Options{Dir: dir, Files: files})
	if err != nil {
		return err
	}
	defer m.Close()
	for ctx.Err() == nil { // one that reboots is switched on again
		if err := m.Start(); err != nil {
			return err
		}
		if err := m.Off(ctx); err != nil && ctx.Err() == nil {
			return err
		}
	}
	return nil
}
