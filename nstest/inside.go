package nstest

import (
	"os"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

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
