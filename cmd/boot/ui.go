package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"

	"golang.org/x/term"
	"sigs.k8s.io/yaml"

	"boot.internal/hint"
	"boot.internal/phases"
)

// The rules of the terminal:
//
//   - This file and its neighbours ui*.go are the only places that print. That
//     printing fails is nobody's business: there is no one left to tell.
//   - Results go to stdout; progress, warnings, errors and logs to stderr.
//   - An error is one line "error: …", followed by "hint: …" where the user can
//     act. Several findings are one line each.
//   - A step that had nothing to do is not worth a line, unless -v asks for it.
//   - Colour only on a terminal and without NO_COLOR.
//   - Progress is redrawn in place on a terminal alone (uilive.go); who asks for
//     events gets these on stdout and nothing else (uistream.go).

// A ui is where a command speaks to its user.
type ui struct {
	out, err  io.Writer
	verbosity int
	colour    bool
	changes   int      // made, or in a dry run found, since the step began
	screen    *screen  // the terminal, where progress is shown in place; nil: there is none
	stream    *stream  // of events, for scripts to read; nil: a person reads
	news      *newsman // what the node agent does meanwhile; nil: nobody asks it
}

func newUI(out, err io.Writer) *ui {
	f, ok := err.(*os.File)
	_, plain := os.LookupEnv("NO_COLOR")
	u := &ui{out: out, err: err, colour: ok && !plain && term.IsTerminal(int(f.Fd()))}
	if u.screen = openScreen(err); u.screen != nil {
		u.err = u.screen.above(err)
	}
	return u
}

// ended tells how the command ended.
func (u *ui) ended(err error, code int) {
	if u.stream != nil {
		u.stream.end(err, code)
		return
	}
	if err != nil && !errors.Is(err, errTold) {
		u.error(err)
	}
}

// error prints err and what can be done about it.
func (u *ui) error(err error) {
	for line := range strings.SplitSeq(strings.TrimRight(err.Error(), "\n"), "\n") {
		_, _ = fmt.Fprintf(u.err, "%s %s\n", u.paint(red, "error:"), line)
	}
	if todo := hint.Of(err); todo != "" {
		for line := range strings.SplitSeq(strings.TrimRight(todo, "\n"), "\n") {
			_, _ = fmt.Fprintf(u.err, "%s %s\n", u.paint(yellow, "hint:"), line)
		}
	}
}

// warn prints a warning.
func (u *ui) warn(text string) {
	if u.stream != nil {
		u.stream.warn(text)
		return
	}
	_, _ = fmt.Fprintf(u.err, "%s %s\n", u.paint(yellow, "warning:"), text)
}

// printf prints a result for people. Those who read events get theirs otherwise.
func (u *ui) printf(format string, a ...any) {
	switch {
	case u.stream != nil:
	case u.screen != nil:
		_, _ = fmt.Fprintf(u.screen.above(u.out), format, a...)
	default:
		_, _ = fmt.Fprintf(u.out, format, a...)
	}
}

// object prints v for scripts to read, as json or yaml.
func (u *ui) object(output string, v any) error {
	var data []byte
	var err error
	switch output {
	case "json":
		data, err = json.MarshalIndent(v, "", "  ")
		data = append(data, '\n')
	case "yaml":
		data, err = yaml.Marshal(v)
	default:
		return withCode(exitValidation, hint.With(fmt.Errorf("unknown output format %q", output), "use json or yaml"))
	}
	if err != nil {
		return fmt.Errorf("print as %s: %w", output, err)
	}
	_, err = u.out.Write(data)
	return err
}

// progress prints what a run of phases does. The verb says whether a change is
// made or would be.
func (u *ui) progress(dryRun bool) func(phases.Event) {
	switch {
	case u.stream != nil:
		return u.stream.report
	case u.screen != nil && !dryRun:
		return newLive(u).report
	}
	return u.plainly(dryRun)
}

// plainly returns what prints a line for whatever happens.
func (u *ui) plainly(dryRun bool) func(phases.Event) {
	return func(e phases.Event) {
		switch e.State {
		case phases.Started:
			u.changes = 0
		case phases.Changing:
			u.changes++
			u.line(e.Step, changing(dryRun, e.Text))
		case phases.Waiting:
			u.line(e.Step, "waiting: "+e.Text)
		case phases.Warned:
			u.warn(e.Step + ": " + e.Text)
		case phases.Skipped:
			u.line(e.Step, "skipped")
		case phases.Done:
			if u.changes > 0 && !dryRun || u.verbosity > 0 {
				u.line(e.Step, u.paint(green, "done")+" in "+short(e.Elapsed))
			}
		case phases.Because, phases.Failed: // the error follows
		}
	}
}

func changing(dryRun bool, text string) string {
	if dryRun {
		return "would " + text
	}
	return text
}

func (u *ui) line(step, text string) {
	_, _ = fmt.Fprintf(u.err, "%s %s\n", u.paint(bold, "["+step+"]"), text)
}

// logger returns the log of a command that a person runs.
func (u *ui) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(u.err, &slog.HandlerOptions{Level: u.level()}))
}

// level maps -v to a log level: warnings, then what is done, then everything.
func (u *ui) level() slog.Level {
	switch {
	case u.verbosity <= 0:
		return slog.LevelWarn
	case u.verbosity == 1:
		return slog.LevelInfo
	default:
		return slog.LevelDebug
	}
}

const (
	red    = "31"
	green  = "32"
	yellow = "33"
	bold   = "1"
)

func (u *ui) paint(code, text string) string {
	if !u.colour {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

// short rounds a duration to what a person reads.
func short(d time.Duration) string {
	if d < time.Second {
		return d.Round(time.Millisecond).String()
	}
	return d.Round(10 * time.Millisecond).String()
}
