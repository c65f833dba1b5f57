package main

import (
	"context"
	"errors"
	"fmt"
	"net/rpc"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"boot.internal/e2e/internal/lab"
	"boot.internal/filelock"
)

// upFlags are those of "up".
type upFlags struct {
	controlPlanes, workers int
	boot                   string
	bare, dual             bool
}

func newUp(l *lair) *cobra.Command {
	var f upFlags
	c := &cobra.Command{
		Use:   "up",
		Short: "Make a cluster",
		Long: `Make nodes, run "boot init" on the first and "boot join" on the rest, and wait
until all of them are Ready. Control planes and workers are node1, node2, and so on.

If that fails, what is there stays for you to look at, until "down".`,
		Example: `  # One node
  go run ./e2e/lab up

  # A control plane that survives the loss of a node, of this build of boot
  go run ./e2e/lab up --control-planes 3 --workers 2 --boot bin/boot

  # Two machines on which nothing runs, beside another lab
  go run ./e2e/lab up --name bare --bare --workers 1`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return up(c.Context(), l, f) },
	}
	p := c.Flags()
	p.IntVar(&f.controlPlanes, "control-planes", 1, "`number` of control planes")
	p.IntVar(&f.workers, "workers", 0, "`number` of workers")
	p.StringVar(&f.boot, "boot", "", "`path` of the boot to run; $BOOT_BIN, or that of `make build`, if not set")
	p.BoolVar(&f.bare, "bare", false, "make nodes alone, and no cluster of them")
	p.BoolVar(&f.dual, "dual-stack", false, "give nodes, pods and Services IPv6 addresses, too")
	return c
}

// maxNodes is how many addresses there are.
const maxNodes = 250

func up(ctx context.Context, l *lair, f upFlags) error {
	if f.controlPlanes < 1 || f.workers < 0 || f.controlPlanes+f.workers > maxNodes {
		return fmt.Errorf("a lab has 1 to %d nodes, one of them a control plane", maxNodes)
	}
	boot, path, err := programs(ctx, f.boot)
	if err != nil {
		return err
	}
	begin := time.Now()
	keeper, err := open(ctx, l, filepath.Dir(boot)+":"+path, f.dual)
	if err != nil {
		return err
	}
	defer func() { _ = keeper.Close() }() // it lives on
	nodes, err := addAll(keeper, f, boot)
	if err != nil {
		return err
	}
	l.say("%d nodes after %s", len(nodes), time.Since(begin).Round(100*time.Millisecond))
	if f.bare {
		return nil
	}
	cluster := lab.NewCluster(boot)
	cluster.DualStack = f.dual
	if err := makeCluster(ctx, l, cluster, nodes, f.controlPlanes); err != nil {
		return fmt.Errorf("%w\nlook at it with: go run ./e2e/lab exec NODE; take it away with: go run ./e2e/lab down", err)
	}
	l.say("\nThe cluster is up after %s. To use it:\n\n  export KUBECONFIG=%s PATH=%s:$PATH\n  kubectl get nodes -o wide",
		time.Since(begin).Round(100*time.Millisecond), l.admin(), path)
	return nil
}

// programs returns the boot to run, and the directory of kubectl.
func programs(ctx context.Context, boot string) (path, dir string, err error) {
	if boot != "" {
		if err := os.Setenv("BOOT_BIN", boot); err != nil {
			return "", "", err
		}
	}
	if path, err = lab.FindBoot(ctx); err != nil {
		return "", "", err
	}
	dir, err = lab.FindComponent(ctx, "bin")
	return path, dir, err
}

// open starts a lab that does not exist yet.
func open(ctx context.Context, l *lair, path string, dual bool) (*rpc.Client, error) {
	if err := os.MkdirAll(l.dir(), 0o700); err != nil {
		return nil, err
	}
	lock, err := filelock.Try(l.lock())
	if errors.Is(err, filelock.ErrHeld) {
		return nil, fmt.Errorf("lab %q is up already; take it down, or choose another --name", l.name)
	}
	if err != nil {
		return nil, err
	}
	err = clearAway(l) // somebody may have killed it
	lock.Release()
	if err != nil {
		return nil, err
	}
	return startKeep(ctx, l, path, dual)
}

// addAll makes the nodes, in the order of their names.
func addAll(keeper *rpc.Client, f upFlags, boot string) ([]*lab.Node, error) {
	nodes := make([]*lab.Node, f.controlPlanes+f.workers)
	for i := range nodes {
		s := Spec{Name: fmt.Sprintf("node%d", i+1), Role: controlPlane, Boot: boot}
		if i >= f.controlPlanes {
			s.Role = worker
		}
		var made State
		if err := keeper.Call("Keeper.Add", s, &made); err != nil {
			return nil, err
		}
		n, err := lab.Attach(made.Info)
		if err != nil {
			return nil, err
		}
		nodes[i] = n
	}
	return nodes, nil
}

// makeCluster makes a cluster of the nodes, control planes first.
func makeCluster(ctx context.Context, l *lair, c *lab.Cluster, nodes []*lab.Node, controlPlanes int) error {
	if err := c.Init(ctx, nodes[0], l.err); err != nil {
		return err
	}
	if err := writeKubeconfig(l, nodes[0]); err != nil {
		return err
	}
	if err := c.Join(ctx, l.err, nodes[1:controlPlanes], nodes[controlPlanes:]); err != nil {
		return err
	}
	client, err := newClient(l)
	if err != nil {
		return err
	}
	return awaitReady(ctx, client, nodes)
}
