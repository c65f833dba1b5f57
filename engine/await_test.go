package engine

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// An import is waited for as long as it gets on, whatever it gets on with.
func TestAwaitSlowImports(t *testing.T) {
	const image = "a:1"
	for name, tc := range map[string]struct {
		steps int               // each after nine minutes
		then  func(i *Importer) // nine minutes after the last one
		after time.Duration     // how long Await takes
		err   string            // "" is none
		ctx   func(context.Context) (context.Context, context.CancelFunc)
	}{
		"slow":              {steps: 5, then: func(i *Importer) { i.announce(Imported{Image: image}) }, after: 54 * time.Minute},
		"no archive has it": {steps: 2, then: func(i *Importer) { close(i.over) }, after: 27 * time.Minute},
		"stalled":           {steps: 2, then: func(*Importer) {}, after: 30 * time.Minute, err: "no import got on for 10m0s"},
		"given up": {
			steps: 2, then: func(*Importer) {}, after: time.Minute, err: context.DeadlineExceeded.Error(),
			ctx: func(ctx context.Context) (context.Context, context.CancelFunc) {
				return context.WithTimeout(ctx, time.Minute)
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				i := (&Engine{}).NewImporter(t.TempDir(), nil)
				go func() {
					for range tc.steps {
						time.Sleep(9 * time.Minute)
						i.moved.Add(1)
					}
					time.Sleep(9 * time.Minute)
					tc.then(i)
				}()
				ctx, cancel := t.Context(), context.CancelFunc(func() {})
				if tc.ctx != nil {
					ctx, cancel = tc.ctx(ctx)
				}
				defer cancel()
				began := time.Now()
				err := i.Await(ctx, image)
				if took := time.Since(began); took != tc.after {
					t.Errorf("took %s, want %s", took, tc.after)
				}
				if (err == nil) != (tc.err == "") || err != nil && !strings.Contains(err.Error(), tc.err) {
					t.Errorf("error %v", err)
				}
				if tc.ctx != nil && !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("error %v does not say why", err)
				}
				time.Sleep(time.Hour) // for the import to end
			})
		})
	}
}
