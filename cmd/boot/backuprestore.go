package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"boot.internal/backup"
	"boot.internal/certs"
	"boot.internal/config"
	"boot.internal/hint"
	"boot.internal/phases"
)

// restoreFlags are the flags of "boot restore".
type restoreFlags struct {
	phases.RestoredNode
	dryRun       bool
	replace      string
	ignoreChecks []string
}

func newRestore(ui *ui) *cobra.Command {
	var f restoreFlags
	c := &cobra.Command{
		Use:   "restore FILE|-",
		Short: "Make this host the control plane that a backup is of",
		Long: `Make this host the control plane that an archive of 'boot backup' is of: with the
same authorities, the same keys for service account tokens, and all objects that
the cluster had. The archive is read to its end and verified before anything is
changed.

The node keeps its name, and its address if this host has that; then other nodes
find it as before. With another name or address, certificates, kubeconfigs,
manifests and the member of etcd are made anew for those, and the Node object of
the old machine stays: delete it, and its pods are started elsewhere.

Etcd begins a new cluster of this node alone. Other control planes are to be reset
and joined again.

A host that is a node already is refused, unless --replace names that node: then
it is reset first. Killed at any moment, the same command run again finishes the
job.`,
		Example: `  # On a new machine
  boot restore node1.tar.zst

  # What would be done?
  boot restore node1.tar.zst --dry-run

  # From another machine
  ssh backup@192.0.2.9 'cat node1.tar.zst' | boot restore -

  # Under another name
  boot restore node1.tar.zst --node-name node7`,
		Args: exactlyOneArg,
		RunE: func(c *cobra.Command, args []string) error { return runRestore(c.Context(), ui, f, args[0]) },
	}
	p := c.Flags()
	p.StringVar(&f.Name, "node-name", "", "`name` of the node; that of the backup if not set")
	p.StringVar(&f.Address, "apiserver-advertise-address", "", "`IP` of this host; that of the backup if the host has it, else the one of the default route")
	p.BoolVar(&f.dryRun, "dry-run", false, "print what would be done and change nothing")
	p.StringVar(&f.replace, "replace", "", "reset this host first, which is the `node` of that name")
	ui.eventsFlag(p)
	p.StringSliceVar(&f.ignoreChecks, "ignore-preflight-errors", nil, "`checks` whose errors are only warned of; 'all' ignores all")
	_ = c.RegisterFlagCompletionFunc("replace", completeOwnName())
	return c
}

func runRestore(ctx context.Context, ui *ui, f restoreFlags, path string) error {
	if f.replace != "" {
		if err := outlivesReset(path); err != nil {
			return err
		}
	}
	r := &restorer{ui: ui, flags: f, dir: filepath.Join(stateDir, "restore")}
	if err := r.admit(); err != nil {
		return err
	}
	if f.replace != "" {
		if err := r.reset(ctx, path); err != nil {
			return err
		}
	}
	a, err := r.unpack(path)
	if err != nil {
		return err
	}
	if f.dryRun {
		defer func() { _ = errors.Join(os.RemoveAll(a.Dir), os.Remove(r.dir)) }() // what is in use stays
	}
	return r.run(ctx, a)
}

// outlivesReset refuses an archive that is gone once the host is reset.
func outlivesReset(path string) error {
	if path == "-" {
		return withCode(exitValidation, hint.With(errors.New("--replace does not go with -"), "the archive is read again after the reset: write it to a file first"))
	}
	file, err := filepath.Abs(path)
	if err == nil {
		file, err = filepath.EvalSymlinks(file)
	}
	if err != nil {
		return fmt.Errorf("find the archive: %w", err)
	}
	dirs := phases.DefaultResetDirs()
	for _, dir := range []string{dirs.Kubernetes, dirs.Kubelet, dirs.Etcd, dirs.PodLogs, dirs.ContainerLogs, dirs.State, dirs.Run} {
		if strings.HasPrefix(file, dir+"/") {
			return withCode(exitValidation, hint.With(fmt.Errorf("%s is where the reset removes files", file), "move the archive somewhere else, out of "+dir))
		}
	}
	return nil
}

// A restorer makes this host the node of an archive.
type restorer struct {
	ui    *ui
	flags restoreFlags
	dir   string // what is unpacked, and the note that tells that a restore is under way
}

// note is there from when an archive is unpacked until its node is restored. It
// holds the digest of the archive.
func (r *restorer) note() string { return filepath.Join(r.dir, "archive") }

// admit refuses a host that has something to lose.
func (r *restorer) admit() error {
	if _, err := os.Stat(r.note()); err == nil {
		return nil // it is this restore that has begun
	}
	name, err := ownName()
	if err != nil { // there is none
		if r.flags.replace != "" {
			r.ui.warn("this host is no node: there is nothing to replace")
			r.flags.replace = ""
		}
		return nil //nolint:nilerr // that is as wanted
	}
	switch r.flags.replace {
	case name:
		return nil
	case "":
		return withCode(exitPreflight, hint.With(fmt.Errorf("this host is node %q already, with data of its own", name),
			"to take the data of this cluster back, 'boot etcd snapshot restore'; to give up what is here, --replace "+name))
	}
	return withCode(exitValidation, fmt.Errorf("this host is node %q, and not %q", name, r.flags.replace))
}

// reset gives up what is here, once it is sure that the archive can take its place.
func (r *restorer) reset(ctx context.Context, path string) error {
	if _, err := os.Stat(r.note()); err == nil {
		return nil // it was done
	}
	if _, err := ownName(); err != nil {
		return nil //nolint:nilerr // a run that was killed has done it
	}
	tmp, err := os.MkdirTemp("", "boot-restore-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(tmp) }()
	if _, err := r.extract(path, tmp); err != nil {
		return err
	}
	cfg, err := config.LoadReset(config.ResetOptions{Flags: config.ResetFlags{Force: true, DryRun: r.flags.dryRun}})
	if err != nil {
		return err
	}
	o, err := resetOptions(ctx, r.ui, cfg, resetFlags{})
	if err != nil {
		return err
	}
	_, err = resetOnce(ctx, r.ui, o, r.flags.dryRun)
	return err
}

// extract reads an archive into a directory, and verifies all of it.
func (r *restorer) extract(path, dir string) (*backup.Archive, error) {
	var in io.Reader = os.Stdin
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		defer func() { _ = f.Close() }()
		in = f
	}
	a, err := backup.Extract(in, dir)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	if _, err := phases.ArchivedSnapshot(a); err != nil {
		return nil, err
	}
	return a, nil
}

// unpack puts the files of the archive where the phases find them. Each run does so
// anew, and only for the archive that the first has begun with.
func (r *restorer) unpack(path string) (*backup.Archive, error) {
	if err := os.MkdirAll(r.dir, 0o700); err != nil {
		return nil, err
	}
	tmp, err := os.MkdirTemp(r.dir, "unpacking-")
	if err != nil {
		return nil, err
	}
	a, err := r.extract(path, tmp)
	if err != nil {
		err = errors.Join(err, os.RemoveAll(tmp))
		_ = os.Remove(r.dir) // it stays where a restore is under way
		return nil, err
	}
	if r.flags.dryRun {
		return a, nil
	}
	begun, err := os.ReadFile(r.note())
	if err == nil && strings.TrimSpace(string(begun)) != a.Digest {
		return nil, errors.Join(hint.With(errors.New("a restore of another archive is under way"), "finish that, or run 'boot reset' first"), os.RemoveAll(tmp))
	}
	a.Dir = filepath.Join(r.dir, "files")
	return a, errors.Join(os.RemoveAll(a.Dir), os.Rename(tmp, a.Dir), os.WriteFile(r.note(), []byte(a.Digest+"\n"), 0o600))
}

// run runs the phases.
func (r *restorer) run(ctx context.Context, a *backup.Archive) error {
	o, err := r.options(a)
	if err != nil {
		return err
	}
	steps, err := phases.Restore(o)
	if err != nil {
		return err
	}
	err = r.ui.recorded("restore", r.flags.dryRun, func(report func(phases.Event)) error {
		return phases.Runner{DryRun: r.flags.dryRun, Report: report}.Run(ctx, steps)
	})
	if err != nil || r.flags.dryRun {
		return exitOf(err)
	}
	r.ui.restored(a, o)
	r.ui.leftBehind(o.Snapshot.Path, a.Node)
	return os.RemoveAll(r.dir)
}

// options are made of what the cluster has stored, and of this host.
func (r *restorer) options(a *backup.Archive) (phases.RestoreOptions, error) {
	host, err := config.ReadHost()
	if err != nil {
		return phases.RestoreOptions{}, err
	}
	cfg, same, err := phases.RestoredConfig(a, r.flags.RestoredNode, host)
	if err != nil {
		return phases.RestoreOptions{}, err
	}
	cfg.Init.NodeRegistration.IgnorePreflightErrors = r.flags.ignoreChecks
	snapshot, err := phases.ArchivedSnapshot(a)
	if err != nil {
		return phases.RestoreOptions{}, err
	}
	s, err := initSetupOf(r.ui, cfg, false)
	if err != nil {
		return phases.RestoreOptions{}, err
	}
	rollout, err := rolloutOptions(r.ui, &config.Loop{Kubelet: cfg.Kubelet, Boot: cfg.Boot}, cfg.Init.NodeRegistration.Name)
	rollout.Timeout = 5 * time.Minute
	return phases.RestoreOptions{
		Init: s.options, Archive: a, Snapshot: snapshot, Rollout: rollout, Same: same,
		Images: images{boot: cfg.Boot, socket: cfg.Init.NodeRegistration.CRISocket, log: r.ui.logger()},
	}, err
}

// restored says what there is now and what is left to do.
func (u *ui) restored(a *backup.Archive, o phases.RestoreOptions) {
	name := o.Init.Config.Init.NodeRegistration.Name
	u.made(result{Node: name, Cluster: o.Init.Config.Cluster.ClusterName, Kubeconfig: certs.KubeconfigTree(phases.DefaultDirs().Kubernetes).Admin})
	u.printf("\nThis host is node %q, the control plane that %q was on %s.\n", name, a.Node, a.Taken.Format(time.RFC1123))
	u.printf("\nTo use it:\n\n  export KUBECONFIG=%s\n  kubectl get nodes\n", certs.KubeconfigTree(phases.DefaultDirs().Kubernetes).Admin)
	if name != a.Node {
		u.printf("\nThe old machine still is in the cluster. Once it is off for good, its pods start elsewhere after:\n\n  kubectl delete node %s\n", a.Node)
	}
	if !o.Same && o.Init.Config.Cluster.ControlPlaneEndpoint == "" {
		u.printf("\nOther nodes look for the API at the old address: join them again.\n")
	}
}
