package phases

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"boot.internal/hint"
	"boot.internal/logfile"
)

// tailLines is how much of a log is worth showing in an error.
const tailLines = 20

// report makes the error of a wait that ended with pod, in the words of ended.
// It also shows what comes up before pod and has not: that may be the cause.
func (p *waitControlPlane) report(ctx context.Context, w *watcher, pod, ended string) error {
	r := report{lines: []string{ended}}
	p.loop(ctx, &r)
	if w.lookErr != nil {
		r.add("the containers cannot be looked at: %v", w.lookErr)
	}
	if first := w.first(); first != pod {
		p.component(ctx, &r, w, first)
	}
	p.component(ctx, &r, w, pod)
	return hint.With(errors.New(strings.Join(r.lines, "\n")), r.advice)
}

// loop adds that the kubelet loop is gone, if it is, and what it said last.
func (p *waitControlPlane) loop(ctx context.Context, r *report) {
	limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTimeout)
	defer cancel()
	if running, err := p.service.Running(limited); err != nil || running {
		return
	}
	r.add("the kubelet loop, which starts all of them, does not run")
	tail := p.log.tail(ctx, loopLines)
	if len(tail) == 0 {
		return
	}
	r.add("the last lines of its log:")
	for _, line := range tail {
		r.add("  %s", line)
	}
	r.advice = "the whole log of the kubelet loop: " + p.log.Where
}

// A report is the text of an error, with what to do about it.
type report struct {
	lines  []string
	advice string
}

func (r *report) add(format string, args ...any) {
	r.lines = append(r.lines, fmt.Sprintf(format, args...))
}

// component adds what the pod's containers do, what its probe says, and the
// ends of their logs.
func (p *waitControlPlane) component(ctx context.Context, r *report, w *watcher, pod string) {
	own := w.containersOf(pod)
	if len(own) == 0 {
		p.missing(ctx, r, pod)
	}
	for _, c := range own {
		r.add("%s: %s", pod, c)
	}
	r.add("%s: probe: %v", pod, w.lastError(pod))
	for _, c := range own {
		tail := logTail(c.LogPath)
		if len(tail) == 0 {
			continue
		}
		r.add("%s: the last lines of its log:", pod)
		for _, line := range tail {
			r.add("  %s", line)
		}
		r.advice = "the whole log is in " + c.LogPath
	}
}

// missing adds why a pod has no container, if the loop has said so.
func (p *waitControlPlane) missing(ctx context.Context, r *report, pod string) {
	text := pod + " has no container yet"
	if why := p.log.complaint(ctx, p.node, pod); why != "" {
		text += ": " + why
		r.advice = "the log of the kubelet loop: " + p.log.Where
	}
	r.add("%s", text)
}

func (w *watcher) containersOf(pod string) []Component {
	var own []Component
	for _, c := range w.containers {
		if c.Pod == pod {
			own = append(own, c)
		}
	}
	return own
}

// logTail returns the last lines of a container's log that are not empty, without
// what the engine puts before each: time, stream and tag.
func logTail(path string) []string {
	var tail []string
	for _, line := range logfile.Tail(path, 0, 2*tailLines) {
		if line = logfile.WithoutPrefix(line); strings.TrimSpace(line) != "" {
			tail = append(tail, line)
		}
	}
	return tail[max(0, len(tail)-tailLines):]
}
