package main

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/spf13/cobra"

	"boot.internal/e2e/internal/lab"
	"boot.internal/filelock"
)

func newDown(l *lair) *cobra.Command {
	everything := false
	c := &cobra.Command{
		Use:   "down",
		Short: "Take a lab away",
		Long:  "Take a lab away with all that belongs to it, also what is left of one that has died.",
		Example: `  go run ./e2e/lab down
  go run ./e2e/lab down --all`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			names := []string{l.name}
			if everything {
				var err error
				if names, err = labs(); err != nil {
					return err
				}
			}
			var failed []error
			for _, name := range names {
				failed = append(failed, down(c.Context(), &lair{name: name, out: l.out, err: l.err}))
			}
			return errors.Join(failed...)
		},
	}
	c.Flags().BoolVar(&everything, "all", false, "take all labs of this machine away")
	return c
}

// downTimeout is how long the process of a lab may take to end.
const downTimeout = 2 * time.Minute

func down(ctx context.Context, l *lair) error {
	if _, err := os.Stat(l.dir()); errors.Is(err, os.ErrNotExist) {
		return clearAway(l) // its disks may be there after a restart of the machine
	}
	if l.health() == "up" {
		if _, err := ask[None, None](l, "Down", None(true)); err != nil {
			l.say("lab %s: %v", l.name, err) // what is left is swept away
		}
		_, _ = ask[None, None](l, "End", None(true)) // it says nothing any more
	}
	ctx, cancel := context.WithTimeout(ctx, downTimeout)
	defer cancel()
	lock, err := filelock.Take(ctx, l.lock()) // it ends
	if err != nil {
		return err
	}
	defer lock.Release()
	return clearAway(l)
}

// clearAway takes away what a lab leaves on the machine once its process has ended.
func clearAway(l *lair) error {
	err := errors.Join(lab.Sweep(l.name), os.RemoveAll(l.disks()), os.RemoveAll(l.dir()))
	for _, dir := range []string{diskDir, runDir} {
		_ = os.Remove(dir) // if this was the last lab
	}
	return err
}
