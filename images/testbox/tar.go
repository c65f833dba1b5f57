package main

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// tarCommand does as much of tar as "kubectl cp" asks for: "tar cf - PATH" and
// "tar -xmf - -C DIR".
func tarCommand(_ context.Context, args []string, std stdio) error {
	mode, dir := "", "."
	var paths []string
	for i := 0; i < len(args); i++ {
		switch arg := args[i]; {
		case arg == "-C" && i+1 < len(args):
			i++
			dir = args[i]
		case arg == "-", strings.HasPrefix(arg, "--no-same-"):
		case mode == "":
			mode = strings.TrimPrefix(arg, "-")
		default:
			paths = append(paths, arg)
		}
	}
	switch {
	case strings.HasPrefix(mode, "c"):
		return pack(std.out, paths)
	case strings.HasPrefix(mode, "x"):
		return unpack(std.in, dir)
	}
	return fmt.Errorf("tar: %q is neither c nor x", mode)
}

func pack(out io.Writer, paths []string) error {
	w := tar.NewWriter(out)
	for _, path := range paths {
		err := filepath.WalkDir(path, func(name string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			return add(w, name, d)
		})
		if err != nil {
			return err
		}
	}
	return w.Close()
}

func add(w *tar.Writer, name string, d fs.DirEntry) error {
	info, err := d.Info()
	if err != nil {
		return err
	}
	link := ""
	if info.Mode()&fs.ModeSymlink != 0 {
		if link, err = os.Readlink(name); err != nil {
			return err
		}
	}
	h, err := tar.FileInfoHeader(info, link)
	if err != nil {
		return err
	}
	h.Name = strings.TrimPrefix(name, "/")
	if err := w.WriteHeader(h); err != nil || !info.Mode().IsRegular() {
		return err
	}
	return copyFile(w, name)
}

func unpack(in io.Reader, dir string) error {
	r := tar.NewReader(in)
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := extract(r, filepath.Join(dir, filepath.Clean("/"+h.Name)), h); err != nil {
			return err
		}
	}
}

func extract(r io.Reader, name string, h *tar.Header) error {
	if h.Typeflag == tar.TypeDir {
		return os.MkdirAll(name, 0o755)
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	if h.Typeflag == tar.TypeSymlink {
		return os.Symlink(h.Linkname, name)
	}
	f, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, h.FileInfo().Mode().Perm())
	if err != nil {
		return err
	}
	_, err = io.Copy(f, r)
	return errors.Join(err, f.Close())
}

// test is as much of test as "kubectl cp" asks for.
func test(_ context.Context, args []string, _ stdio) error {
	info, err := os.Stat(args[1])
	switch {
	case err != nil,
		args[0] == "-d" && !info.IsDir(),
		args[0] == "-f" && !info.Mode().IsRegular():
		return exitCode(1)
	}
	return nil
}
