package evict

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// retune is how often the amounts that the kernel tells of are set anew: they
// depend on how much of what is used is cache.
const retune = 10 * time.Second

// listen has the kernel tell when memory gets short, as far as it can: version 1
// of control groups of every amount that is asked for, every kernel of processes
// that wait for memory (PSI). What it does not tell is seen at the next look.
func (w *Watch) listen(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	for _, t := range w.all {
		if dir := w.host.dirOf(t.Signal); dir != "" {
			go w.hear(ctx, t, dir)
		}
	}
	go w.hearStalls(ctx, w.host.proc("pressure/memory"))
	return cancel
}

// dirOf returns the control group that a signal is about.
func (h Host) dirOf(s Signal) string {
	switch s {
	case MemoryAvailable:
		return h.Memory
	case AllocatableMemoryAvailable:
		return h.PodMemory
	}
	return ""
}

// hear pokes whenever the memory of a group crosses the amount at which the
// threshold is met, until ctx ends or the kernel turns out not to tell.
func (w *Watch) hear(ctx context.Context, t Threshold, dir string) {
	if _, err := os.Stat(filepath.Join(dir, "cgroup.event_control")); err != nil {
		return // version 2, or no group yet
	}
	for ctx.Err() == nil {
		amount, err := w.host.usageAt(t)
		if err == nil {
			err = w.hearOne(ctx, dir, amount)
		}
		if err != nil {
			w.o.Log.LogAttrs(ctx, slog.LevelDebug, "kernel does not tell of memory", slog.String("path", dir), slog.Any("err", err))
			return
		}
	}
}

// usageAt returns how much a group uses, cache and all, when the threshold is met.
func (h Host) usageAt(t Threshold) (int64, error) {
	g, err := measure(h.dirOf(t.Signal))
	if err != nil {
		return 0, err
	}
	level, err := h.memory()
	if t.Signal == AllocatableMemoryAvailable {
		level, _, err = h.podMemory()
	}
	return level.Capacity - t.Amount.of(level.Capacity) + g.usage - g.working, err
}

// hearOne pokes when the usage of a group crosses an amount, until it is time to
// tune it.
func (w *Watch) hearOne(ctx context.Context, dir string, amount int64) error {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return fmt.Errorf("make eventfd: %w", err)
	}
	events := os.NewFile(uintptr(fd), "eventfd")
	defer func() { _ = events.Close() }()
	if err := askFor(dir, fd, amount); err != nil {
		return err
	}
	if err := events.SetReadDeadline(time.Now().Add(retune)); err != nil {
		return fmt.Errorf("wait for memory: %w", err)
	}
	defer context.AfterFunc(ctx, func() { _ = events.SetReadDeadline(time.Now()) })()
	var count [8]byte
	for {
		if _, err := events.Read(count[:]); err != nil {
			return nil //nolint:nilerr // the deadline
		}
		w.Poke()
	}
}

// askFor registers an eventfd for an amount of memory in use.
func askFor(dir string, fd int, amount int64) error {
	usage, err := os.Open(filepath.Join(dir, "memory.usage_in_bytes"))
	if err != nil {
		return fmt.Errorf("watch memory: %w", err)
	}
	defer func() { _ = usage.Close() }() // the kernel has noted it
	line := fmt.Sprintf("%d %d %d", fd, usage.Fd(), amount)
	control, err := os.OpenFile(filepath.Join(dir, "cgroup.event_control"), os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("watch memory: %w", err)
	}
	defer func() { _ = control.Close() }()
	if _, err := control.WriteString(line); err != nil {
		return fmt.Errorf("watch memory: %w", err)
	}
	return nil
}

// stallTrigger asks for an event when processes waited for memory for 150 ms of 2 s,
// the shortest span that a process without privileges may ask for.
const stallTrigger = "some 150000 2000000"

// hearStalls pokes when processes have to wait for what the file of PSI is about,
// where the kernel tells.
func (w *Watch) hearStalls(ctx context.Context, path string) {
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return // a kernel without PSI
	}
	defer func() { _ = unix.Close(fd) }()
	if _, err = unix.Write(fd, append([]byte(stallTrigger), 0)); err == nil {
		err = w.follow(ctx, fd)
	}
	if err != nil {
		w.o.Log.LogAttrs(ctx, slog.LevelDebug, "kernel does not tell of stalls", slog.Any("err", err))
	}
}

// follow pokes at each event of a trigger, until ctx ends. Go does not wait for
// events of their kind itself, but it does for another poll that has any.
func (w *Watch) follow(ctx context.Context, fd int) error {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return fmt.Errorf("make epoll: %w", err)
	}
	if err := unix.SetNonblock(epoll, true); err != nil {
		return errors.Join(err, unix.Close(epoll))
	}
	wait := os.NewFile(uintptr(epoll), "epoll")
	defer func() { _ = wait.Close() }()
	if err := unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLPRI, Fd: int32(fd)}); err != nil {
		return fmt.Errorf("wait for stalls: %w", err)
	}
	raw, err := wait.SyscallConn()
	if err != nil {
		return fmt.Errorf("wait for stalls: %w", err)
	}
	defer context.AfterFunc(ctx, func() { _ = wait.SetReadDeadline(time.Now()) })()
	for err == nil {
		if err = raw.Read(second()); err == nil {
			w.Poke()
		}
	}
	if ctx.Err() != nil {
		return nil
	}
	return fmt.Errorf("wait for stalls: %w", err)
}

// second returns what has a read wait for the next event: at first it wants to wait,
// and then it is content. Looking whether there is an event would tell nothing: to
// be asked about it, as Go does, makes the kernel forget it.
func second() func(epoll uintptr) bool {
	waited := false
	return func(epoll uintptr) bool {
		var events [1]unix.EpollEvent
		_, _ = unix.EpollWait(int(epoll), events[:], 0) // so that the next one counts
		defer func() { waited = true }()
		return waited
	}
}
