package lab

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
)

// PowerOff ends the node as a power cut does: every process is killed at once,
// and what was in memory is gone, /run among it. The disk stays.
func (n *Node) PowerOff() error {
	jobs, err := n.supervisors()
	if err != nil {
		return fmt.Errorf("power off %s: %w", n.Name, err)
	}
	n.jobs = jobs
	n.forget()
	if _, err := n.keeper.ask(sayOff); err != nil {
		return fmt.Errorf("power off %s: %w", n.Name, err)
	}
	return n.lan.unplug(n)
}

// PowerOn has the node come up, with its name, addresses and disk. There is no
// service manager on it, so what one would start is started by hand: the loops
// of boot that ran when the power went.
func (n *Node) PowerOn() error {
	pid, err := n.keeper.ask(sayOn)
	if err == nil {
		err = n.came(pid)
	}
	if err == nil {
		err = n.lan.plug(n)
	}
	for _, args := range n.jobs {
		if err == nil {
			err = n.spawn(context.Background(), args)
		}
	}
	if err != nil {
		return fmt.Errorf("power on %s: %w", n.Name, err)
	}
	return nil
}

// Restart takes the power off and puts it on again.
func (n *Node) Restart() error { return errors.Join(n.PowerOff(), n.PowerOn()) }

// supervisors returns the command lines of the supervisors of boot's loops, each
// once: who starts a program is twice the same until one of them is that program.
func (n *Node) supervisors() ([][]string, error) {
	all, err := n.processes()
	var jobs [][]string
	for _, p := range all {
		known := slices.ContainsFunc(jobs, func(args []string) bool { return slices.Equal(args, p.Args) })
		if !known && !p.Container && slices.Contains(p.Args, "--supervise") && filepath.IsAbs(p.Args[0]) {
			jobs = append(jobs, p.Args)
		}
	}
	return jobs, err
}

// spawn starts a program that nobody waits for: init is its parent.
func (n *Node) spawn(ctx context.Context, args []string) error {
	shell := append([]string{"sh", "-c", `setsid "$@" </dev/null >/dev/null 2>&1 &`, "sh"}, args...)
	cmd := n.Command(ctx, shell...)
	if err := n.Start(cmd); err != nil {
		return err
	}
	return cmd.Wait()
}
