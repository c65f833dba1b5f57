package main

import (
	"encoding/json"
	"errors"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/spf13/pflag"

	"boot.internal/hint"
	"boot.internal/phases"
)

// A streamed is one line of what a script reads: something that a phase did, or, as
// the last line, the result. Fields may be added, never changed.
type streamed struct {
	Time time.Time `json:"time"`
	Type string    `json:"type"` // "event" or "result"
	// Phase is that of an event, as --skip-phases names it; Number says which one
	// it is Of how many.
	Phase  string `json:"phase,omitempty"`
	Number int    `json:"number,omitempty"`
	Of     int    `json:"of,omitempty"`
	// State is that of the phase: started, changing, waiting, because, warned,
	// skipped, done or failed; of a result: done or failed.
	State   string   `json:"state"`
	Text    string   `json:"text,omitempty"`
	Awaits  []string `json:"awaits,omitempty"`  // components that are waited for
	Elapsed float64  `json:"elapsed,omitempty"` // seconds, of a phase or of the command
	Error   string   `json:"error,omitempty"`
	Hint    string   `json:"hint,omitempty"`
	Code    *int     `json:"exitCode,omitempty"` // of a result
	*result
}

// A result is what a command has made that others need.
type result struct {
	Node       string `json:"node,omitempty"`
	Cluster    string `json:"cluster,omitempty"`
	Kubeconfig string `json:"kubeconfig,omitempty"`
	// Join are the arguments for boot on a node that joins. They hold a token.
	Join           []string `json:"join,omitempty"`
	CertificateKey string   `json:"certificateKey,omitempty"`
	Changes        *int     `json:"changes,omitempty"` // made, or in a dry run to be made
	Version        string   `json:"version,omitempty"` // of Kubernetes, that the node is at, or in a dry run would be
	// Certificates are those that were renewed.
	Certificates []renewed `json:"certificates,omitempty"`
	File         string    `json:"file,omitempty"`     // that was written
	Size         int64     `json:"size,omitempty"`     // of the file, in bytes
	Revision     int64     `json:"revision,omitempty"` // of the data of the cluster that was saved, or is back
	// LeftBehind are the nodes that were control planes of a cluster before it began
	// anew without them.
	LeftBehind []string `json:"leftBehind,omitempty"`
}

// A stream tells scripts what happens.
type stream struct {
	out   io.Writer
	began time.Time

	mu     sync.Mutex
	result *result
	ended  bool
}

// eventsFlag gives a command that runs phases the flag that asks for events.
func (u *ui) eventsFlag(flags *pflag.FlagSet) {
	flags.VarP(eventsFormat{u}, "output", "o", "`format` of what is told: json, one object a line; text for people if not set")
}

// eventsFormat is the value of that flag.
type eventsFormat struct{ u *ui }

// String implements pflag.Value.
func (f eventsFormat) String() string {
	if f.u != nil && f.u.stream != nil {
		return "json"
	}
	return ""
}

// Type implements pflag.Value.
func (eventsFormat) Type() string { return "string" }

// Set implements pflag.Value.
func (f eventsFormat) Set(format string) error {
	if format != "json" {
		return errors.New("it can only be json")
	}
	f.u.stream = &stream{out: f.u.out, began: time.Now()}
	return nil
}

// report tells what a run of phases does.
func (s *stream) report(e phases.Event) {
	line := streamed{
		Type: "event", Phase: e.Step, Number: e.Number, Of: e.Of, State: string(e.State),
		Text: e.Text, Awaits: e.Awaits, Elapsed: e.Elapsed.Seconds(),
	}
	if e.Err != nil {
		line.Error, line.Hint = strings.TrimSpace(e.Err.Error()), hint.Of(e.Err)
	}
	s.write(line)
}

// warn tells what is to be read and is of no phase.
func (s *stream) warn(text string) {
	s.write(streamed{Type: "event", State: string(phases.Warned), Text: text})
}

// made keeps for those who read events what there is now, until the command ends.
func (u *ui) made(r result) {
	if u.stream != nil {
		u.stream.result = &r
	}
}

// result tells those who read events what there is now. It is the last they hear
// of a command that goes well, although it may go on in the foreground.
func (u *ui) result(r result) {
	u.made(r)
	if u.stream != nil {
		u.stream.end(nil, 0)
	}
}

// end tells how the command ended, once.
func (s *stream) end(err error, code int) {
	s.mu.Lock()
	told := s.ended
	s.ended = true
	s.mu.Unlock()
	if told && err == nil {
		return
	}
	line := streamed{Type: "result", State: string(phases.Done), Elapsed: time.Since(s.began).Seconds(), Code: &code, result: s.result}
	if err != nil {
		line.State, line.Error, line.Hint = string(phases.Failed), strings.TrimSpace(err.Error()), hint.Of(err)
	}
	s.write(line)
}

func (s *stream) write(line streamed) {
	line.Time = time.Now()
	data, err := json.Marshal(line)
	if err != nil {
		return // it is made of texts and numbers
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	_, _ = s.out.Write(append(data, '\n'))
}
