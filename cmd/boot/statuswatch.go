package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/signal"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"boot.internal/backoff"
	"boot.internal/kubelet/local"
	"boot.internal/status"
)

// A watch shows how a node is whenever that is another way.
type watch struct {
	ui     *ui
	output string
	screen *screen // where a person sees it redrawn; nil: there is none
	last   []byte  // the report that was shown, without its time
}

func newWatch(u *ui, output string) *watch {
	w := &watch{ui: u, output: output}
	if output == "" {
		w.screen = openScreen(u.out)
	}
	return w
}

// watch shows how the node is until ctx ends. The loop tells when to look; what it
// does not know is looked at now and then.
func (h *hostLook) watch(ctx context.Context, ui *ui, output string) error {
	news := make(chan struct{}, 1)
	go h.hear(ctx, news)
	return newWatch(ui, output).run(ctx, news, h.look)
}

// run looks whenever there are news, and shows what it sees, until ctx ends.
func (w *watch) run(ctx context.Context, news <-chan struct{}, look func(context.Context) status.Report) error {
	const interval = 5 * time.Second
	tick := time.NewTicker(interval)
	defer tick.Stop()
	resized := make(chan os.Signal, 1)
	signal.Notify(resized, unix.SIGWINCH)
	defer signal.Stop(resized)
	for {
		r := look(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err := w.show(r); err != nil {
			return err
		}
		select {
		case <-news:
		case <-tick.C:
		case <-resized: // it is drawn again with the next look
		case <-ctx.Done():
			return nil
		}
	}
}

// show shows a report if it is not the one before: as a line of JSON, a document of
// YAML, or a screen, which is drawn over the one before where that can be.
func (w *watch) show(r status.Report) error {
	u := w.ui
	if w.screen != nil {
		w.screen.show(func(columns int) []string {
			return strings.Split(strings.TrimRight(status.Screen(r, min(columns, u.columns()), u.tone), "\n"), "\n")
		})
		return nil
	}
	timeless := r
	timeless.Now = time.Time{}
	now, err := json.Marshal(timeless)
	if err != nil || bytes.Equal(now, w.last) {
		return err
	}
	w.last = now
	switch w.output {
	case "":
		u.printf("%s\n%s", r.Now.Format(time.RFC3339), status.Screen(r, u.columns(), u.tone))
	case "json":
		line, err := json.Marshal(r)
		if err != nil {
			return err
		}
		u.printf("%s\n", line)
	default:
		u.printf("---\n")
		return u.object(w.output, r)
	}
	return nil
}

// hear pokes whenever the loop has news, until ctx ends. A loop that has ended may
// come back.
func (h *hostLook) hear(ctx context.Context, news chan<- struct{}) {
	poke := func(*local.State) error {
		select {
		case news <- struct{}{}:
		default:
		}
		return nil
	}
	for backoff.Sleep(ctx, 0) {
		_ = h.client.Watch(ctx, poke) // that it has ended is news as well
		_ = poke(nil)
		backoff.Sleep(ctx, time.Second)
	}
}
