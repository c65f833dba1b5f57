package main

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"boot.internal/phases"
)

// redrawEvery is how often progress is drawn again while nothing happens but time.
const redrawEvery = 200 * time.Millisecond

// A live shows progress in place. What is done becomes a line that stays; below are
// the phase that runs, what it changes, what it waits for and why:
//
//	✔ preflight  3 changes  0.31 s
//	✔ kubelet-start  2 changes  1.2 s
//	… wait-control-plane  4.1 s  (22 of 38, 7.3 s in all)
//	    wait for kube-apiserver
//	    kube-apiserver: get https://192.0.2.10:6443/readyz: 500: [-]etcd failed
//	    node agent: kube-apiserver: start container
type live struct {
	ui    *ui
	began time.Time

	mu        sync.Mutex // guards what follows
	at        phases.Event
	stepBegan time.Time
	changes   int
	change    string // that is made now
	waits     string // for what
	why       string // it is not there
	stop      chan struct{}
}

func newLive(u *ui) *live { return &live{ui: u, began: time.Now()} }

// report takes what a run tells.
func (l *live) report(e phases.Event) {
	switch e.State {
	case phases.Started:
		l.start(e)
	case phases.Skipped:
		l.ui.line(e.Step, "skipped")
	case phases.Warned:
		l.ui.warn(e.Step + ": " + e.Text)
	case phases.Done, phases.Failed:
		l.finish(e)
	default:
		l.note(e)
		l.ui.screen.redraw()
	}
}

// note keeps what is to be shown below the phase.
func (l *live) note(e phases.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch e.State {
	case phases.Changing:
		l.changes++
		l.change, l.waits, l.why = e.Text, "", ""
	case phases.Waiting:
		l.waits = e.Text
	case phases.Because:
		l.why = e.Text
	}
}

// start shows a phase until it is finished.
func (l *live) start(e phases.Event) {
	l.mu.Lock()
	l.at, l.stepBegan, l.changes, l.change, l.waits, l.why = e, time.Now(), 0, "", "", ""
	l.stop = make(chan struct{})
	stop := l.stop
	l.mu.Unlock()
	l.ui.screen.show(l.block)
	go l.keepDrawing(stop)
}

func (l *live) keepDrawing(stop <-chan struct{}) {
	tick := time.NewTicker(redrawEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			l.ui.screen.redraw()
		case <-stop:
			return
		}
	}
}

// finish leaves of the phase a line that stays, and of one that failed what it did
// last.
func (l *live) finish(e phases.Event) {
	l.mu.Lock()
	close(l.stop)
	text := l.done(e)
	l.mu.Unlock()
	l.ui.screen.show(nil)
	if text != "" {
		_, _ = fmt.Fprintln(l.ui.err, text)
	}
}

// done is what stays of a phase, "" if it is not worth a line.
func (l *live) done(e phases.Event) string {
	u := l.ui
	if e.State == phases.Failed {
		lines := []string{u.paint(red, sign("✘", "x")) + " " + u.paint(bold, e.Step) + "  failed after " + short(e.Elapsed)}
		return strings.Join(append(lines, l.details(maxColumns, false)...), "\n")
	}
	if l.changes == 0 && u.verbosity == 0 {
		return ""
	}
	return fmt.Sprintf("%s %s  %s  %s", u.paint(green, sign("✔", "+")), u.paint(bold, e.Step), counted(l.changes), short(e.Elapsed))
}

func counted(changes int) string {
	switch changes {
	case 0:
		return "nothing to do"
	case 1:
		return "1 change"
	}
	return fmt.Sprintf("%d changes", changes)
}

// block is what is shown now.
func (l *live) block(columns int) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	head := fmt.Sprintf("%s  %s", l.at.Step, running(l.stepBegan))
	if l.at.Of > 0 {
		head += fmt.Sprintf("  (%d of %d, %s in all)", l.at.Number, l.at.Of, running(l.began))
	}
	lines := []string{sign("…", "~") + " " + l.ui.paint(bold, fitted(head, columns-2))}
	return append(lines, l.details(columns, true)...)
}

// details say what the phase does. It is called with mu held.
func (l *live) details(columns int, now bool) []string {
	texts := []string{l.change}
	if l.waits != "" && l.change != "wait for "+l.waits {
		texts = append(texts, "waiting for "+l.waits)
	}
	texts = append(texts, l.why)
	if now && l.ui.news != nil {
		texts = append(texts, l.ui.news.latest())
	}
	var lines []string
	for _, text := range texts {
		if text != "" {
			lines = append(lines, "    "+fitted(text, columns-4))
		}
	}
	return lines
}

// running is for how long something goes on, as a person wants to see it change.
func running(since time.Time) string { return fmt.Sprintf("%.1f s", time.Since(since).Seconds()) }

// sign returns a sign that the terminal can show.
func sign(rich, poor string) string {
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if v := strings.ToUpper(os.Getenv(name)); v != "" {
			if strings.Contains(v, "UTF-8") || strings.Contains(v, "UTF8") {
				return rich
			}
			return poor
		}
	}
	return poor
}
