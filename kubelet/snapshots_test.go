package kubelet

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// A fakeShelf takes snapshots that cost nothing.
type fakeShelf struct {
	begun time.Time
	last  time.Time
	at    []time.Duration // when it was asked for one, since begun
	fail  int             // so many times from now on
	gone  bool            // there is no etcd
}

func (f *fakeShelf) Here() bool { return !f.gone }

func (f *fakeShelf) Last() (time.Time, error) { return f.last, nil }

func (f *fakeShelf) Take(context.Context) (string, int64, error) {
	f.at = append(f.at, time.Since(f.begun))
	if f.fail > 0 {
		f.fail--
		return "", 0, errors.New("no space left on device")
	}
	f.last = time.Now()
	return "/snapshot.db", 1, nil
}

func TestSnapshotsAreTakenInTime(t *testing.T) {
	const every = 12 * time.Hour
	for _, c := range []struct {
		name  string
		last  time.Duration // before the loop began; 0: none
		fail  int
		gone  bool
		every time.Duration
		want  []time.Duration
	}{
		{"a new cluster", 0, 0, false, every, []time.Duration{10 * time.Minute, 10*time.Minute + every}},
		{"restarted in between", 5 * time.Hour, 0, false, every, []time.Duration{7 * time.Hour, 19 * time.Hour}},
		{"away for long", 48 * time.Hour, 0, false, every, []time.Duration{0, every}},
		{"from a clock that was ahead", -48 * time.Hour, 0, false, every, []time.Duration{every}},
		{"a full disk", every, 3, false, every, []time.Duration{0, time.Minute, 3 * time.Minute, 7 * time.Minute, 7*time.Minute + every}},
		{"often", 0, 2, false, 10 * time.Hour, []time.Duration{10 * time.Minute, 11 * time.Minute, 13 * time.Minute, 13*time.Minute + 10*time.Hour}},
		{"none here", 0, 0, true, every, nil},
		{"never", every, 0, false, 0, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				shelf := &fakeShelf{begun: time.Now(), fail: c.fail, gone: c.gone}
				if c.last != 0 {
					shelf.last = time.Now().Add(-c.last)
				}
				log := slog.New(slog.DiscardHandler)
				k := &kubelet{o: Options{Snapshots: shelf, SnapshotEvery: c.every, Logger: log}, events: newEvents("n", log), metrics: newMetrics()}
				ctx, cancel := context.WithTimeout(t.Context(), 20*time.Hour)
				defer cancel()
				k.takeSnapshots(ctx)
				if diff := cmp.Diff(c.want, shelf.at); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
			})
		})
	}
}
