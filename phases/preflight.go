package phases

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"boot.internal/config"
	"boot.internal/journal"
)

// PreflightOptions are the values the first phase is built with.
type PreflightOptions struct {
	Config  *config.Init
	Dirs    Dirs
	Journal *journal.Journal // of this host
	Service Service          // the kubelet loop
	Engine  EngineCheck      // nil: no engine is asked for
	// Worker says that the node is to run no control plane.
	Worker bool
	// Built is when this program was built: the clock cannot be right if it
	// says earlier. The zero time is not compared with.
	Built time.Time

	host *hostView // another host than this, in tests
}

// EngineCheck tells whether there will be a container engine.
type EngineCheck interface {
	// Check returns why there cannot be one.
	Check(ctx context.Context) error
}

// Preflight returns the phase that checks whether this host can be a node, by
// default of the control plane, and makes it ready where boot can do so itself. All checks are made in
// one go; each has an ID by which the user can have it only warn. The IDs are
// kubeadm's where kubeadm has the check.
//
// What belongs to an earlier run of boot on this host is no obstacle: the
// journal is there then, and what runs has the names of what boot runs.
func Preflight(o PreflightOptions) Phase {
	if o.host == nil {
		o.host = thisHost()
	}
	return preflight{o}
}

type preflight struct{ PreflightOptions }

// A Finding is what a check has found.
type Finding struct {
	ID      string // of the check: "NumCPU"
	Text    string // what is found
	Hint    string // what to do about it
	Warning bool   // nothing stops
}

// String is the finding in one line.
func (f Finding) String() string {
	s := "[" + f.ID + "] " + f.Text
	if f.Hint != "" {
		s += ": " + f.Hint
	}
	return s
}

// A PreflightError says that this host cannot be a node as it is.
// Nothing has been changed.
type PreflightError struct {
	Findings []Finding // those that stop
	Subject  string    // what is not ready; this host if empty
}

// Error lists the findings, each with what to do about it.
func (e *PreflightError) Error() string {
	var b strings.Builder
	b.WriteString(cmp.Or(e.Subject, "this host") + " is not ready:")
	for _, f := range e.Findings {
		b.WriteString("\n  " + f.String())
	}
	return b.String()
}

// Hint says how to go on nevertheless.
func (e *PreflightError) Hint() string {
	var ids []string
	for _, f := range e.Findings {
		ids = append(ids, f.ID)
	}
	slices.Sort(ids)
	return "to go on nevertheless: --ignore-preflight-errors=" + strings.Join(slices.Compact(ids), ",")
}

// Plan implements Phase. The error is a *PreflightError if checks say stop.
func (p preflight) Plan(ctx context.Context) ([]Change, error) {
	ours, err := p.Journal.Begun()
	if err != nil {
		return nil, err
	}
	findings := p.look(ctx, ours)
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	changes, found, err := p.readiness().plan()
	if err != nil {
		return nil, err
	}
	stop := p.tell(ctx, slices.Concat(p.ignoreUnknown(), findings, found))
	if len(stop) > 0 {
		return nil, &PreflightError{Findings: stop}
	}
	if !ours {
		changes = slices.Insert(changes, 0, p.begin())
	}
	return changes, nil
}

// look makes all checks, side by side, and returns what they find in their
// order.
func (p preflight) look(ctx context.Context, ours bool) []Finding {
	all := checks()
	findings := make([][]Finding, len(all))
	var group sync.WaitGroup
	for i, c := range all {
		group.Go(func() { findings[i] = c.look(ctx, p, ours) })
	}
	group.Wait()
	return slices.Concat(findings...)
}

// tell warns of what does not stop and returns what does.
func (p preflight) tell(ctx context.Context, findings []Finding) []Finding {
	return sift(ctx, findings, p.Config.Init.NodeRegistration.IgnorePreflightErrors)
}

// sift warns of what does not stop, or is to be ignored, and returns what stops.
func sift(ctx context.Context, findings []Finding, ignore []string) []Finding {
	var stop []Finding
	for _, f := range findings {
		switch {
		case f.Stops(ignore):
			stop = append(stop, f)
		case f.Warning:
			warn(ctx, f.String())
		default:
			warn(ctx, f.String()+" (ignored)")
		}
	}
	return stop
}

// Stops says whether the finding is no warning, and neither its check nor all are
// among those to ignore.
func (f Finding) Stops(ignore []string) bool {
	return !f.Warning && !slices.ContainsFunc(ignore, func(want string) bool {
		return strings.EqualFold(want, f.ID) || strings.EqualFold(want, "all")
	})
}

// ignoreUnknown warns of IDs that no check has: they were meant to have an
// effect.
func (p preflight) ignoreUnknown() []Finding {
	known := []string{"all"}
	for _, c := range checks() {
		known = append(known, c.ids(p)...)
	}
	known = append(known, p.readiness().ids()...)
	var unknown []Finding
	for _, id := range p.Config.Init.NodeRegistration.IgnorePreflightErrors {
		if !slices.ContainsFunc(known, func(k string) bool { return strings.EqualFold(k, id) }) {
			unknown = append(unknown, Finding{
				ID: id, Text: "there is no check of this name to ignore", Warning: true,
				Hint: "the checks are " + strings.Join(known[1:], ", "),
			})
		}
	}
	return unknown
}

// A check looks at one aspect of the host. Ours says that boot has been at work
// here before.
type check struct {
	ids  func(preflight) []string
	look func(ctx context.Context, p preflight, ours bool) []Finding
}

// checks are made in this order, which is also that of the report.
func checks() []check {
	return []check{
		{just("IsPrivilegedUser"), checkUser},
		{just("SystemVerification"), checkKernel},
		{just("SystemVerification"), checkCgroups},
		{just("NumCPU"), checkCPUs},
		{just("Mem"), checkMemory},
		{just("Swap"), checkSwap},
		{just("DiskSpace"), checkDisk},
		{just("SystemTime"), checkClock},
		{just("Hostname"), checkHostname},
		{just("OOMScoreAdj"), checkOOMScore},
		{just("FileExisting-nft"), checkFirewall},
		{just("CRI"), checkEngine},
		{just("Kubelet"), checkKubelet},
		{portIDs, checkPorts},
		{leftoverIDs, checkLeftovers},
		{just("ClusterCA"), checkAuthority},
	}
}

func just(id string) func(preflight) []string {
	return func(preflight) []string { return []string{id} }
}

// found is a short way to say that something stops.
func found(id, hint, format string, args ...any) []Finding {
	return []Finding{{ID: id, Text: fmt.Sprintf(format, args...), Hint: hint}}
}

// noted is a short way to say that something should be known.
func noted(id, hint, format string, args ...any) []Finding {
	return []Finding{{ID: id, Text: fmt.Sprintf(format, args...), Hint: hint, Warning: true}}
}

// unseen says that a check could not be made.
func unseen(id string, err error) []Finding {
	return noted(id, "", "this could not be checked: %v", err)
}
