package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"boot.internal/hint"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"boot.internal/etcd"
)

// snapshots is where boot keeps snapshots, those of the schedule among them.
func snapshots() etcd.Shelf { return etcd.Shelf{Dir: filepath.Join(stateDir, "snapshots")} }

func newEtcdSnapshot(ui *ui, f *etcdFlags) *cobra.Command {
	c := &cobra.Command{
		Use:   "snapshot",
		Short: "Save, list, check and restore snapshots of etcd",
		Long: `Save, list, check and restore snapshots of the cluster's data.

A snapshot is what etcd's own tools write and read. It has every Secret of the
cluster in it: whoever can read the file can read those. Control planes take
snapshots by themselves, every twelve hours unless BootConfiguration says
otherwise, and keep the last five in /var/lib/boot/snapshots.

A snapshot is the data alone; 'boot backup' also keeps certificates and
configuration, which a new machine needs.`,
		Example: `  boot etcd snapshot save
  boot etcd snapshot list
  boot etcd snapshot restore /var/lib/boot/snapshots/scheduled-20260102T030405Z.db`,
		Args: noArgs,
	}
	c.AddCommand(newSnapshotSave(ui, f), newSnapshotList(ui), newSnapshotStatus(ui), newSnapshotRestore(ui))
	return c
}

func newSnapshotSave(ui *ui, f *etcdFlags) *cobra.Command {
	var timeout time.Duration
	c := &cobra.Command{
		Use:   "save [FILE|-]",
		Short: "Save a snapshot of etcd",
		Long: `Save all data of the cluster to a file that only root may read, or with - to
standard output. The file is there once it is complete and verified, or not at
all. Without a name it is put into /var/lib/boot/snapshots, where it stays until
somebody removes it.`,
		Example: `  boot etcd snapshot save
  boot etcd snapshot save /mnt/backup/cluster.db

  # To another machine
  boot etcd snapshot save - | ssh backup@192.0.2.9 'cat > cluster.db'`,
		Args: atMostOneArg,
		RunE: func(c *cobra.Command, args []string) error {
			ctx, cancel := context.WithTimeoutCause(c.Context(), timeout, fmt.Errorf("gave up after %s", timeout))
			defer cancel()
			return runSnapshotSave(ctx, ui, *f, strings.Join(args, ""))
		},
	}
	c.Flags().DurationVar(&timeout, "timeout", 10*time.Minute, "`duration` that it may take in all")
	ui.eventsFlag(c.Flags())
	return c
}

func runSnapshotSave(ctx context.Context, ui *ui, f etcdFlags, path string) error {
	if path == "-" {
		if err := ui.wantsPipe(); err != nil {
			return err
		}
	}
	cluster, err := f.cluster()
	if err != nil {
		return err
	}
	defer func() { _ = cluster.Close() }()
	if path == "-" {
		return cluster.StreamSnapshot(ctx, ui.out)
	}
	if path == "" {
		if err := snapshots().Make(); err != nil {
			return err
		}
		path = snapshots().Path(time.Now(), false)
	}
	if fi, err := os.Stat(path); err == nil && fi.IsDir() {
		return withCode(exitValidation, hint.With(fmt.Errorf("%s is a directory", path), "name a file in it"))
	}
	s, err := cluster.SaveSnapshot(ctx, path)
	if err != nil {
		return err
	}
	ui.made(result{File: s.Path, Size: s.Size, Revision: s.Revision})
	ui.printf("Saved %s: %s, revision %d.\n", s.Path, size(s.Size), s.Revision)
	return nil
}

// wantsPipe refuses to write what is not text to a terminal, or among events.
func (u *ui) wantsPipe() error {
	if u.stream != nil {
		return withCode(exitValidation, hint.With(errors.New("standard output cannot be both, this and what happens"), "name a file"))
	}
	if f, ok := u.out.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return withCode(exitValidation, hint.With(errors.New("standard output is a terminal, and this is not text"), "pipe it somewhere, or name a file"))
	}
	return nil
}

func newSnapshotList(ui *ui) *cobra.Command {
	var output string
	c := &cobra.Command{
		Use:   "list",
		Short: "List and check the snapshots on this host",
		Long:  "List the snapshots in /var/lib/boot/snapshots, the newest first. Each is read and verified. The exit code is 1 if one is broken.",
		Example: `  boot etcd snapshot list

  # For scripts
  boot etcd snapshot list -o json`,
		Args: noArgs,
		RunE: func(*cobra.Command, []string) error { return runSnapshotList(ui, snapshots(), output) },
	}
	c.Flags().StringVarP(&output, "output", "o", "", "`format`: json or yaml; a table if not set")
	return c
}

// A printedSnapshot is a snapshot as it is printed.
type printedSnapshot struct {
	Path     string    `json:"path"`
	Taken    time.Time `json:"taken"`
	Size     int64     `json:"size"` // bytes
	Revision int64     `json:"revision,omitempty"`
	Version  string    `json:"storageVersion,omitempty"`
	Digest   string    `json:"sha256,omitempty"`
	Intact   bool      `json:"intact"`
	Error    string    `json:"error,omitempty"`
}

func printedOf(s etcd.Snapshot, err error) printedSnapshot {
	p := printedSnapshot{Path: s.Path, Taken: s.Taken.UTC().Truncate(time.Second), Size: s.Size, Revision: s.Revision, Version: s.Version, Digest: s.Digest, Intact: err == nil}
	if err != nil {
		p.Error = err.Error()
	}
	return p
}

func runSnapshotList(ui *ui, shelf etcd.Shelf, output string) error {
	files, err := shelf.Files()
	if err != nil {
		return err
	}
	all, broken := readSnapshots(files)
	if output != "" {
		err = ui.object(output, all)
	} else {
		err = ui.snapshots(all)
	}
	if err == nil && broken > 0 {
		err = fmt.Errorf("%d of %d snapshots are broken", broken, len(all))
	}
	return err
}

// readSnapshots verifies snapshots, and says how many are broken. One that is not
// there any more was removed by the schedule meanwhile.
func readSnapshots(files []string) (all []printedSnapshot, broken int) {
	all = []printedSnapshot{}
	for _, path := range files {
		s, err := etcd.ReadSnapshot(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			broken++
		}
		all = append(all, printedOf(s, err))
	}
	return all, broken
}

// snapshots prints a table.
func (u *ui) snapshots(all []printedSnapshot) error {
	w := tabwriter.NewWriter(u.out, 0, 0, 3, ' ', 0)
	_, _ = fmt.Fprintln(w, "TAKEN\tSIZE\tREVISION\tINTACT\tPATH")
	for _, s := range all {
		intact := "yes"
		if !s.Intact {
			intact = "NO"
		}
		_, _ = fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%s\n", s.Taken.Format(time.RFC3339), size(s.Size), s.Revision, intact, s.Path)
	}
	return w.Flush()
}

func newSnapshotStatus(ui *ui) *cobra.Command {
	var output string
	c := &cobra.Command{
		Use:   "status FILE",
		Short: "Check a snapshot and say what it is",
		Example: `  boot etcd snapshot status /mnt/backup/cluster.db

  # For scripts
  boot etcd snapshot status cluster.db -o json`,
		Args: exactlyOneArg,
		RunE: func(_ *cobra.Command, args []string) error {
			s, err := etcd.ReadSnapshot(args[0])
			if err != nil {
				return err
			}
			p := printedOf(s, nil)
			if output != "" {
				return ui.object(output, p)
			}
			return ui.snapshots([]printedSnapshot{p})
		},
	}
	c.Flags().StringVarP(&output, "output", "o", "", "`format`: json or yaml; a table if not set")
	return c
}
