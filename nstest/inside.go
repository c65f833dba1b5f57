package nstest

import (
	"os"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// The main thread stays with the main goroutine: every other one ends with a
// goroutine that is locked to it, and that one would be left where it was taken.
func init() { runtime.LockOSThread() } //nolint:gochecknoinits // before there are other goroutines

// Inside calls f in the network namespace that a path such as /run/netns/NAME
// leads to. What f starts in other goroutines is not in there.
func Inside(t testing.TB, netns string, f func() error) {
	t.Helper()
	done := make(chan error)
	go func() {
		// The thread is not given back: it is in the wrong namespace.
		runtime.LockOSThread()
		ns, err := os.Open(netns)
		if err == nil {
			defer func() { _ = ns.Close() }()
			err = unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET)
		}
		if err == nil {
			err = f()
		}
		done <- err
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// Unshare moves the test to a namespace of its own of the kind that flag names,
// as CLONE_NEWNS, whose mounts nobody else sees. The thread is not given back:
// it ends with the test, and the namespace with it.
func Unshare(t testing.TB, flag int) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("making a namespace takes root")
	}
	runtime.LockOSThread()
	err := unix.Unshare(flag)
	if err == nil && flag&unix.CLONE_NEWNS != 0 {
		err = unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
	}
	if err != nil {
		t.Fatalf("make a namespace: %v", err)
	}
}
