package backoff

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestAfter(t *testing.T) {
	var got []Backoff
	var b Backoff
	for _, ran := range []time.Duration{0, 0, 0, time.Minute, 0, stable - 1} {
		b = b.After(ran)
		got = append(got, b)
	}
	f := Backoff(first)
	if diff := cmp.Diff([]Backoff{f, 2 * f, 4 * f, 0, f, 2 * f}, got); diff != "" {
		t.Error(diff)
	}
	if got := Backoff(longest).After(0); got != Backoff(longest) {
		t.Errorf("grew to %v", time.Duration(got))
	}
}

func TestPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		if !Backoff(time.Second).Pause(t.Context()) || time.Since(begin) != time.Second {
			t.Errorf("paused %v", time.Since(begin))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if Backoff(time.Hour).Pause(ctx) {
			t.Error("outlasted the context")
		}
		if Sleep(ctx, 0) {
			t.Error("the context had ended")
		}
	})
}
