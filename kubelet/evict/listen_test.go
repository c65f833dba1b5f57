package evict

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestHearMemory has a real kernel tell of memory in version 1 of control groups.
func TestHearMemory(t *testing.T) {
	const root = "/sys/fs/cgroup/memory"
	if _, err := os.Stat(root); errors.Is(err, fs.ErrNotExist) || os.Geteuid() != 0 {
		t.Skip("needs root, and version 1 of control groups")
	}
	dir := filepath.Join(root, fmt.Sprintf("boot-evict-test-%d", os.Getpid()))
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Rmdir(dir) })
	w := New(Options{Log: slog.New(slog.DiscardHandler)})
	const amount = 32 << 20
	heard := make(chan error, 1)
	go func() {
		for t.Context().Err() == nil {
			if err := w.hearOne(t.Context(), dir, amount); err != nil {
				heard <- err
				return
			}
		}
	}()
	script := fmt.Sprintf("echo 0 > %s/cgroup.procs && while read go; do dd if=/dev/zero of=/dev/null bs=64M count=1 2>/dev/null; done", dir)
	cmd := exec.CommandContext(t.Context(), "sh", "-c", script)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-w.poke:
		t.Error("poked before anything was used")
	case err := <-heard:
		t.Fatal("the kernel does not tell: ", err)
	case <-time.After(100 * time.Millisecond):
	}
	for late, poked := time.After(time.Minute), false; !poked; {
		if _, err := in.Write([]byte("go\n")); err != nil {
			t.Fatal(err)
		}
		select {
		case <-w.poke:
			poked = true
		case err := <-heard:
			t.Fatal("the kernel does not tell any more: ", err)
		case <-late:
			t.Fatal("not poked")
		case <-time.After(time.Second): // the kernel may not have been asked yet, or not anew
		}
	}
	_ = in.Close()
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

// TestHearStalls has a real kernel tell of stalls: of those for CPU, which are
// easier to bring about than those for memory.
func TestHearStalls(t *testing.T) {
	const path = "/proc/pressure/cpu"
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		t.Skipf("no PSI to test with: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	w := New(Options{Log: slog.New(slog.DiscardHandler)})
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.hearStalls(ctx, path)
	}()
	for range 4 * runtime.NumCPU() {
		busy := exec.CommandContext(ctx, "sh", "-c", "while :; do :; done")
		if err := busy.Start(); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = busy.Wait() }()
	}
	select {
	case <-w.poke:
	case <-done:
		t.Error("the kernel does not tell")
	case <-time.After(time.Minute):
		t.Error("not poked")
	}
	cancel()
	<-done
}

func TestUsageAt(t *testing.T) {
	h := testHost(t)
	for s, want := range map[Signal]int64{
		MemoryAvailable:            (1000 - 50 + 100) << 10, // 100 of what is used is cache
		AllocatableMemoryAvailable: (300 - 50) << 10,
	} {
		got, err := h.usageAt(Threshold{Signal: s, Amount: Amount{Share: 0, Quantity: amount("50Ki").Quantity}})
		if err != nil || got != want {
			t.Errorf("%s: %d, %v, want %d", s, got, err, want)
		}
	}
}
