package lab

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// settings are those of the kernel that are the same for all of the machine, and that
// node agents change, as kernels come. Who sets kernel.panic on a node must not have
// the machine panic otherwise.
func settings() map[string]int {
	return map[string]int{
		"vm/overcommit_memory": 0, "vm/panic_on_oom": 0, "kernel/panic": 0, "kernel/panic_on_oops": 0,
		"kernel/keys/root_maxkeys": 1_000_000, "kernel/keys/root_maxbytes": 25_000_000,
	}
}

// ownSettings gives the node such settings of its own: files that are nothing to the
// kernel. Like those of the kernel they do not outlive the node's power.
//
// Whoever has users of his own may mount only what he could see before
// (mount_namespaces(7)): for him the node has a proc without those files, where
// systemd-nspawn(1) has it.
func ownSettings(proc string, p plan) error {
	for name, value := range settings() {
		at := filepath.Join(proc, "sys", name)
		if _, err := os.Stat(at); errors.Is(err, fs.ErrNotExist) {
			continue // this kernel does not have it
		}
		own := filepath.Join(scratch(p), "sys", name)
		if err := os.MkdirAll(filepath.Dir(own), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(own, []byte(strconv.Itoa(value)+"\n"), 0o644); err != nil {
			return err
		}
		if err := unix.Mount(own, at, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("mount %s: %w", at, err)
		}
	}
	return mountAt("proc", filepath.Join(filepath.Dir(proc), "run/host/proc"), "proc", "")
}
