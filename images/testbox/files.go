package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
)

func cat(_ context.Context, args []string, std stdio) error {
	if len(args) == 0 {
		_, err := io.Copy(std.out, std.in)
		return err
	}
	for _, name := range args {
		if err := copyFile(std.out, name); err != nil {
			return err
		}
	}
	return nil
}

func copyFile(w io.Writer, name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // it was only read
	_, err = io.Copy(w, f)
	return err
}

// ls prints the numbers of owners, since volumes are about numbers.
func ls(_ context.Context, args []string, std stdio) error {
	entries, err := os.ReadDir(args[0])
	if err != nil {
		return err
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			return err
		}
		var uid, gid uint32
		if st, ok := info.Sys().(*syscall.Stat_t); ok {
			uid, gid = st.Uid, st.Gid
		}
		if _, err := fmt.Fprintf(std.out, "%s %d:%d %d %s\n", info.Mode(), uid, gid, info.Size(), e.Name()); err != nil {
			return err
		}
	}
	return nil
}

func write(_ context.Context, args []string, _ stdio) error {
	return os.WriteFile(args[0], []byte(strings.Join(args[1:], " ")+"\n"), 0o644)
}

func env(_ context.Context, args []string, std stdio) error {
	if len(args) == 0 {
		_, err := fmt.Fprintln(std.out, strings.Join(os.Environ(), "\n"))
		return err
	}
	value, ok := os.LookupEnv(args[0])
	if !ok {
		return exitCode(1)
	}
	_, err := fmt.Fprintln(std.out, value)
	return err
}

// id prints what the kernel says of this process.
func id(_ context.Context, _ []string, std stdio) error {
	f, err := os.Open("/proc/self/status")
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // it was only read
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		key, _, _ := strings.Cut(lines.Text(), ":")
		switch key {
		case "Uid", "Gid", "Groups", "CapPrm", "CapEff", "CapBnd", "NoNewPrivs", "Seccomp":
			if _, err := fmt.Fprintln(std.out, lines.Text()); err != nil {
				return err
			}
		}
	}
	return lines.Err()
}
