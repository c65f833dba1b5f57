package main

import (
	"context"
)

// A foreground is the loop within the process of "boot init --foreground".
type foreground struct {
	run    func(ctx context.Context) error
	cancel context.CancelFunc
	ended  chan error
}

// newForeground returns the loop that the arguments describe, not started yet.
func newForeground(ui *ui, args []string) *foreground {
	return &foreground{run: func(ctx context.Context) error {
		root := newRoot(ui)
		root.SetArgs(args)
		return root.ExecuteContext(ctx)
	}}
}

// Running implements phases.Service.
func (f *foreground) Running(context.Context) (bool, error) { return f.ended != nil, nil }

// Start implements phases.Service. The loop lives until its process is asked to
// end, not only until the phase is through.
func (f *foreground) Start(ctx context.Context) error {
	ctx, f.cancel = context.WithCancel(context.WithoutCancel(ctx))
	f.ended = make(chan error, 1)
	go func(ended chan<- error) { ended <- f.run(ctx) }(f.ended)
	return nil
}

// Stop implements phases.Service.
func (f *foreground) Stop(context.Context) error {
	if f.ended == nil {
		return nil
	}
	f.cancel()
	err := <-f.ended
	f.ended = nil
	return err
}

// wait returns when the loop has ended, or ctx has.
func (f *foreground) wait(ctx context.Context) error {
	select {
	case err := <-f.ended:
		f.ended = nil
		return err
	case <-ctx.Done():
		return f.Stop(ctx)
	}
}
