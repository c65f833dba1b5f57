package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/rpc"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"boot.internal/e2e/internal/lab"
	"boot.internal/filelock"
)

// newKeep is the process that a lab lives in. It is started by up.
func newKeep(l *lair) *cobra.Command {
	var dual bool
	var path string
	c := &cobra.Command{
		Use:    "keep",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE:   func(*cobra.Command, []string) error { return keep(l, path, dual) },
	}
	c.Flags().BoolVar(&dual, "dual-stack", false, "")
	c.Flags().StringVar(&path, "path", "", "")
	return c
}

// startKeep starts the process of a lab and waits until it answers.
func startKeep(ctx context.Context, l *lair, path string, dual bool) (*rpc.Client, error) {
	if err := os.MkdirAll(l.dir(), 0o700); err != nil {
		return nil, err
	}
	log, err := os.Create(l.log())
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }()                                                                                    // it has its own
	cmd := exec.Command("/proc/self/exe", "keep", "--name", l.name, "--path", path, fmt.Sprintf("--dual-stack=%v", dual)) //nolint:noctx // it is to outlive us
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	retry := time.NewTicker(20 * time.Millisecond) // until there is a socket, nobody can tell
	defer retry.Stop()
	for {
		if client, err := l.dial(); err == nil {
			return client, nil
		}
		select {
		case err := <-ended:
			said, _ := os.ReadFile(l.log()) // best there is to say
			return nil, fmt.Errorf("start the lab: %w: %s", err, said)
		case <-ctx.Done():
			return nil, errors.Join(ctx.Err(), cmd.Process.Kill())
		case <-retry.C:
		}
	}
}

// keep has a lab exist until it is asked to end, or ends otherwise.
func keep(l *lair, path string, dual bool) error {
	stop, release := signal.NotifyContext(context.Background(), syscall.SIGTERM) // whoever asks it to end: the nodes go first
	defer release()
	lock, err := filelock.Try(l.lock())
	if err != nil {
		return err
	}
	defer runtime.KeepAlive(lock) // the kernel gives it back once the process is gone
	var families []lab.Family
	if dual {
		families = append(families, lab.DualStack)
	}
	lan, err := lab.OpenLAN(l.name, families...)
	if err != nil {
		return err
	}
	defer func() { _ = lan.Close() }() // it goes with the process
	k := &Keeper{lan: lan, disks: l.disks(), nodes: map[string]*kept{}, ended: make(chan struct{})}
	api, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // at once
	if err != nil {
		return err
	}
	k.place = Place{API: api.Addr().String(), Path: path}
	go k.proxy(api)
	if err := serve(l.socket(), k); err != nil {
		return err
	}
	select {
	case <-k.ended:
		return nil
	case <-stop.Done():
		return k.Down(false, new(None))
	}
}

// serve answers other commands.
func serve(socket string, k *Keeper) error {
	if err := os.Remove(socket); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	server := rpc.NewServer()
	if err := server.Register(k); err != nil {
		return err
	}
	ready, err := net.Listen("unix", filepath.Clean(socket)) //nolint:noctx // at once
	if err != nil {
		return err
	}
	go server.Accept(ready)
	return nil
}

// dial connects to the process of the lab.
func (l *lair) dial() (*rpc.Client, error) {
	client, err := rpc.Dial("unix", l.socket())
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("there is no lab %q; make one with: go run ./e2e/lab up", l.name)
	}
	if errors.Is(err, syscall.ECONNREFUSED) {
		return nil, fmt.Errorf("lab %q has died; take away the rest with: go run ./e2e/lab down", l.name)
	}
	return client, err
}

// ask asks the process of the lab for something. None is nothing.
func ask[A, R any](l *lair, what string, args A) (answer R, err error) {
	client, err := l.dial()
	if err != nil {
		return answer, err
	}
	defer func() { _ = client.Close() }() // it was only asked
	return answer, client.Call("Keeper."+what, args, &answer)
}
