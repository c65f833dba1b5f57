package phases

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// ErrUnconverged reports a phase whose plan was not empty after it was applied.
var ErrUnconverged = errors.New("still has changes to make after applying them all")

// A Runner runs steps in order and stops at the first error.
// Running the same steps again resumes where the last run stopped.
type Runner struct {
	DryRun bool                   // plan and report, change nothing
	Skip   func(name string) bool // nil skips nothing
	Report func(Event)            // nil reports nothing; called on Run's goroutine
}

// Run plans and, unless this is a dry run, applies every step.
func (r Runner) Run(ctx context.Context, steps []Step) error {
	report := r.Report
	for i, s := range steps {
		if report != nil {
			r.Report = func(e Event) {
				e.Number, e.Of = i+1, len(steps)
				report(e)
			}
		}
		if err := r.step(ctx, s); err != nil {
			return fmt.Errorf("phase %s: %w", s.Name, err)
		}
	}
	return nil
}

func (r Runner) step(ctx context.Context, s Step) error {
	if r.Skip != nil && r.Skip(s.Name) {
		r.report(Event{Step: s.Name, State: Skipped})
		return nil
	}
	start := time.Now()
	r.report(Event{Step: s.Name, State: Started})
	err := r.converge(ctx, s)
	e := Event{Step: s.Name, State: Done, Elapsed: time.Since(start), Err: err}
	if err != nil {
		e.State = Failed
	}
	r.report(e)
	return err
}

// converge plans s, applies the plan and checks that nothing is left of it.
func (r Runner) converge(ctx context.Context, s Step) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	telling := withSay(ctx, func(e Event) {
		e.Step = s.Name
		r.report(e)
	})
	plan, err := s.Plan(telling)
	if err != nil {
		return fmt.Errorf("plan: %w", err)
	}
	for _, c := range plan {
		if err := r.change(telling, s.Name, c); err != nil {
			return err
		}
	}
	if r.DryRun || len(plan) == 0 {
		return nil
	}
	return converged(ctx, s)
}

func (r Runner) change(ctx context.Context, step string, c Change) error {
	r.report(Event{Step: step, State: Changing, Text: c.Desc})
	if r.DryRun {
		return nil
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err := c.Apply(ctx); err != nil {
		return fmt.Errorf("%s: %w", c.Desc, err)
	}
	return nil
}

// converged plans p once more: a phase that is not idempotent fails here, on
// its first run, and not in the field on its second.
func converged(ctx context.Context, p Phase) error {
	left, err := p.Plan(ctx)
	if err != nil {
		return fmt.Errorf("plan again: %w", err)
	}
	if len(left) > 0 {
		return fmt.Errorf("%w: %s", ErrUnconverged, left[0].Desc)
	}
	return nil
}

func (r Runner) report(e Event) {
	if r.Report != nil {
		r.Report(e)
	}
}
