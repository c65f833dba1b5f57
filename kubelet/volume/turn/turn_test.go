package turn

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
)

func TestTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var turns Turns
		take := func(ctx context.Context, name string) func() {
			t.Helper()
			done, err := turns.Take(ctx, name)
			if err != nil {
				t.Fatal(err)
			}
			return done
		}
		first := take(t.Context(), "a")
		take(t.Context(), "b")() // another name does not wait
		waiting := make(chan struct{}, 10)
		for range cap(waiting) {
			go func() {
				done := take(t.Context(), "a")
				waiting <- struct{}{}
				done()
			}()
		}
		synctest.Wait()
		if len(waiting) != 0 {
			t.Error("somebody did not wait")
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := turns.Take(ctx, "a"); !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
		first()
		synctest.Wait()
		if len(waiting) != cap(waiting) {
			t.Errorf("%d had their turn", len(waiting))
		}
	})
}
