package phases

import (
	"context"
	"strings"
	"time"
)

// An Event tells a user interface how far a run has come.
type Event struct {
	Step       string
	State      State
	Text       string        // what is changing, awaited or warned of, or why what is awaited is not there
	Awaits     []string      // set when Waiting for components: the names of their pods
	Elapsed    time.Duration // set when Done or Failed
	Err        error         // set when Failed
	Number, Of int           // of the step among those of the run, from 1
}

// State is where in its life a step is.
type State string

// A step is Skipped, or Started and then Done or Failed, with any number of
// the others in between.
const (
	Skipped  State = "skipped"
	Started  State = "started"
	Changing State = "changing"
	Waiting  State = "waiting" // a change takes time: Text names what it waits for
	Because  State = "because" // why the wait goes on, as far as is known by now; this changes often
	Warned   State = "warned"  // nothing stops, but Text should be read
	Done     State = "done"
	Failed   State = "failed"
)

// sayKey carries the running step's reporter from the runner to its phases, so
// that Plan and Apply keep the two-word signatures every phase shares.
type sayKey struct{}

func withSay(ctx context.Context, say func(Event)) context.Context {
	return context.WithValue(ctx, sayKey{}, say)
}

func say(ctx context.Context, e Event) {
	if f, ok := ctx.Value(sayKey{}).(func(Event)); ok {
		f(e)
	}
}

// warn tells the user what deserves attention but stops nothing. Phases call
// it from Plan, on the goroutine that called them; planning again is silent.
func warn(ctx context.Context, text string) { say(ctx, Event{State: Warned, Text: text}) }

// waiting tells the user what a change waits for. Phases call it from Apply,
// on the goroutine that called them.
func waiting(ctx context.Context, text string) { say(ctx, Event{State: Waiting, Text: text}) }

// awaiting is waiting for components, by the names of their pods.
func awaiting(ctx context.Context, pods []string) {
	say(ctx, Event{State: Waiting, Text: strings.Join(pods, ", "), Awaits: pods})
}

// because tells the user why a wait goes on.
func because(ctx context.Context, text string) { say(ctx, Event{State: Because, Text: text}) }
