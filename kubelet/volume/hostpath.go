package volume

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
)

// checkHostPath makes sure that the path is of the type the pod asks for,
// making a directory or file where it may. The words are the upstream
// kubelet's: people search for them.
func checkHostPath(src *v1.HostPathVolumeSource) error {
	if slices.Contains(strings.Split(src.Path, "/"), "..") {
		return fmt.Errorf("path %s must not contain '..'", src.Path)
	}
	kind := v1.HostPathUnset
	if src.Type != nil {
		kind = *src.Type
	}
	var is func(fs.FileMode) bool
	var noun string
	switch kind {
	case v1.HostPathUnset:
		return nil
	case v1.HostPathDirectoryOrCreate, v1.HostPathDirectory:
		is, noun = fs.FileMode.IsDir, "a directory"
	case v1.HostPathFileOrCreate, v1.HostPathFile:
		is, noun = fs.FileMode.IsRegular, "a file"
	case v1.HostPathSocket:
		is, noun = func(m fs.FileMode) bool { return m&fs.ModeSocket != 0 }, "a socket file"
	case v1.HostPathCharDev:
		is, noun = func(m fs.FileMode) bool { return m&fs.ModeCharDevice != 0 }, "a character device"
	case v1.HostPathBlockDev:
		is, noun = func(m fs.FileMode) bool { return m&fs.ModeDevice != 0 && m&fs.ModeCharDevice == 0 }, "a block device"
	default:
		return fmt.Errorf("%s is an invalid volume type", kind)
	}
	if err := createHostPath(src.Path, kind); err != nil {
		return err
	}
	fi, err := os.Stat(src.Path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("hostPath type check failed: %w", err)
	}
	if err != nil || !is(fi.Mode()) {
		return fmt.Errorf("hostPath type check failed: %s is not %s", src.Path, noun)
	}
	return nil
}

// createHostPath makes what is missing, for the types that ask for it. Like
// upstream it makes a directory with its parents, but a file alone.
func createHostPath(path string, kind v1.HostPathType) error {
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return nil // it is there, or what is wrong with it is told by the check
	}
	switch kind {
	case v1.HostPathDirectoryOrCreate:
		return os.MkdirAll(path, 0o755)
	case v1.HostPathFileOrCreate:
		f, err := os.OpenFile(path, os.O_CREATE, 0o644)
		if err != nil {
			return err
		}
		return f.Close()
	default:
		return nil
	}
}
