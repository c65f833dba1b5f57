package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// pauseProgram compiles pause, where there is a C compiler to do so.
func pauseProgram(t *testing.T) string {
	t.Helper()
	if _, err := exec.LookPath("gcc"); err != nil {
		t.Skip("pause is C: ", err)
	}
	program := filepath.Join(t.TempDir(), "pause")
	if err := compilePause(t.Context(), filepath.Join("pause", "pause.c"), program); err != nil {
		if strings.Contains(err.Error(), "-lc") {
			t.Skip("no static C library: ", err)
		}
		t.Fatal(err)
	}
	return program
}

// eventually waits for something to become true, a minute at least.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for range 6000 {
		if ok() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("waited in vain:", what)
}

// waits tells that the process runs the program and is past its start: pause
// sleeps in nothing but the wait for signals.
func waits(pid int, program string) bool {
	exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
	if err != nil || exe != program {
		return false
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && strings.Contains(string(stat), ") S ")
}

func TestPauseEndsWhenAsked(t *testing.T) {
	program := pauseProgram(t)
	own := &syscall.SysProcAttr{}
	first := &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWPID | syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
	}
	for _, c := range []struct {
		name   string
		attr   *syscall.SysProcAttr
		signal syscall.Signal
	}{
		{"SIGTERM", own, syscall.SIGTERM},
		{"SIGINT", own, syscall.SIGINT},
		{"SIGTERM as the first process of its namespace", first, syscall.SIGTERM},
	} {
		t.Run(c.name, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), program)
			cmd.SysProcAttr = c.attr
			if err := cmd.Start(); err != nil {
				if c.attr == first && errors.Is(err, syscall.EPERM) {
					t.Skip("making a namespace takes root")
				}
				t.Fatal(err)
			}
			eventually(t, "pause waits", func() bool { return waits(cmd.Process.Pid, program) })
			if err := cmd.Process.Signal(c.signal); err != nil {
				t.Fatal(err)
			}
			if err := cmd.Wait(); err != nil {
				t.Error("pause ended with", err)
			}
		})
	}
}

func TestPauseReapsChildren(t *testing.T) {
	if _, err := os.Stat("/proc/thread-self/children"); errors.Is(err, fs.ErrNotExist) {
		t.Skip("this kernel does not list children")
	}
	program := pauseProgram(t)
	// The children of the shell become pause's: one that ends before pause
	// starts, and three that end together once their input does.
	script := `true & cat <&3 & cat <&3 & cat <&3 & exec "$0" 3<&-`
	cmd := exec.CommandContext(t.Context(), "sh", "-c", script, program)
	input, end, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.ExtraFiles = []*os.File{input}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	pid := cmd.Process.Pid
	eventually(t, "pause waits", func() bool { return waits(pid, program) })
	eventually(t, "the first child is reaped", func() bool { return len(children(t, pid)) == 3 })
	if err := end.Close(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "every child is reaped", func() bool { return len(children(t, pid)) == 0 })
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Error("pause ended with", err)
	}
}

// children lists the children of a process, those that ended unreaped as well.
func children(t *testing.T, pid int) []string {
	t.Helper()
	list, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		t.Fatal(err)
	}
	return strings.Fields(string(list))
}
