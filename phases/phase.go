// Package phases turns a machine into a control-plane node, one named phase at
// a time. A phase first says what it would change and only then changes it, so
// a dry run is a run that stops after the saying, and running again is
// finishing what is left.
//
// The package decides the order of the work and what each phase compares and
// writes. What the files say is left to certs and templates, running the pods
// to the kubelet loop, and every word on the screen to cmd.
package phases

import "context"

// A Phase makes one part of the machine or cluster match the configuration it
// was built with.
type Phase interface {
	// Plan returns the changes still to be made, in order. It reads but never
	// writes, and returns none once they have all been applied.
	Plan(ctx context.Context) ([]Change, error)
}

// A Change is one effect, described before it is made.
type Change struct {
	// Desc is imperative and specific, "write /etc/kubernetes/pki/ca.crt", and
	// never holds a secret.
	Desc string
	// Apply makes the change. It may be called again after a failure.
	Apply func(context.Context) error
}

// PlanFunc lets a function be a Phase.
type PlanFunc func(context.Context) ([]Change, error)

// Plan calls f.
func (f PlanFunc) Plan(ctx context.Context) ([]Change, error) { return f(ctx) }

// A Step is a Phase under the name that flags, logs and docs know it by.
type Step struct {
	Name string // kubeadm's, with its group: "certs/ca"
	Desc string // one line for listings: "Generate the Kubernetes CA"
	Phase
}
