package lab

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// InNetwork calls f in the network namespace of a process, such as that of a
// pod: addresses it listens on and dials are the pod's. It must do so itself, not
// from other goroutines.
func (p Process) InNetwork(f func() error) error {
	return onThread(func() error {
		ns, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", p.host))
		if err != nil {
			return err
		}
		defer ns.Close() //nolint:errcheck // it was only looked at
		if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("enter the network of %s: %w", p, err)
		}
		return f()
	})
}
