package stats

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	statsapi "k8s.io/kubelet/pkg/apis/stats/v1alpha1"
)

// Who made a volume answers, then hangs: nobody waits for that for long, and the
// figures of before are there for as long as there are no others.
func TestAskWhoHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var a answers
		var asked atomic.Uint64
		var hangs atomic.Bool
		hangs.Store(true)
		v := Volume{Path: "/v", Ask: func(ctx context.Context) (*statsapi.FsStats, error) {
			n := asked.Add(1)
			if hangs.Load() {
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return &statsapi.FsStats{UsedBytes: &n}, nil
		}}
		want := func(when string, bytes uint64, err error, took time.Duration) {
			t.Helper()
			begin := time.Now()
			got, gotErr := a.ask(t.Context(), v)
			switch {
			case !errors.Is(gotErr, err):
				t.Errorf("%s: %v", when, gotErr)
			case err == nil && *got.UsedBytes != bytes:
				t.Errorf("%s: %d bytes", when, *got.UsedBytes)
			}
			if d := time.Since(begin); d != took {
				t.Errorf("%s: it took %s", when, d)
			}
		}
		want("at first", 0, errNoAnswer, askPatience)
		want("nobody is asked twice", 0, errNoAnswer, askPatience)
		time.Sleep(askWithin)
		hangs.Store(false)
		want("after a failure", 2, nil, 0)
		want("a moment later", 2, nil, 0)
		time.Sleep(recent)
		hangs.Store(true)
		want("while the new one is late", 2, nil, askPatience)
		time.Sleep(askWithin)
		want("once that failed", 0, context.DeadlineExceeded, askPatience)
		time.Sleep(3 * recent)
		synctest.Wait()
		hangs.Store(false)
		want("much later", 5, nil, 0)
		if n := asked.Load(); n != 5 {
			t.Errorf("asked %d times", n)
		}
	})
}
