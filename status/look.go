package status

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"boot.internal/kubelet/local"
)

// limit is how long a look may take: whoever does not answer by then is said not
// to.
const limit = 1800 * time.Millisecond

// Sources are what is looked at. Each is asked at the same time as the others,
// and has to end when its context does.
type Sources struct {
	// Node is the name of the node where the loop does not tell.
	Node string
	// Begun says whether this host has been made a node.
	Begun func() bool
	// Loop asks the kubelet loop.
	Loop func(ctx context.Context) (*local.State, error)
	// Service tells what keeps the loop running.
	Service func(ctx context.Context) (Service, error)
	// Engine asks the container engine itself, Pods what it has of pods. They are
	// needed where there is no loop, which would know more.
	Engine func(ctx context.Context) Engine
	Pods   func(ctx context.Context) ([]local.Pod, error)
	// Ways tries the kubeconfigs of the node; none if it has none.
	Ways func(ctx context.Context) []APIWay
	// Etcd asks the members; nil if the node has none.
	Etcd func(ctx context.Context) *Etcd
	// Certificates reads those of the node.
	Certificates func() []Certificate

	now func() time.Time // in tests
}

// Look looks at everything and judges. It takes two seconds at the most.
func Look(ctx context.Context, s Sources) Report {
	if s.now == nil {
		s.now = time.Now
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var r Report
	var state *local.State
	var loopErr, serviceErr error
	var group sync.WaitGroup
	group.Go(func() { state, loopErr = s.Loop(ctx) })
	group.Go(func() { r.Loop.Service, serviceErr = s.Service(ctx) })
	group.Go(func() { r.Engine = s.Engine(ctx) })
	group.Go(func() { r.Etcd = s.Etcd(ctx) })
	group.Go(func() { r.Certificates = s.Certificates() })
	group.Go(func() {
		if ways := s.Ways(ctx); len(ways) > 0 {
			r.API = &API{Ways: ways, Reachable: slices.ContainsFunc(ways, func(w APIWay) bool { return w.OK })}
		}
	})
	group.Wait()
	r.Now, r.Node.Name, r.Node.Ready = s.now(), s.Node, "Unknown"
	r.unseen("the service manager", serviceErr)
	if state != nil {
		r.take(state)
	} else {
		r.alone(ctx, s, loopErr)
	}
	r.judge(s.Begun())
	return r
}

func (r *Report) unseen(what string, err error) {
	if err != nil {
		r.Unseen = append(r.Unseen, what+": "+err.Error())
	}
}

// take takes over what the loop knows.
func (r *Report) take(s *local.State) {
	r.Node = Node{
		Name: s.Node, Ready: "Unknown", Registered: s.Registered, Kubernetes: s.Kubernetes, Conditions: s.Conditions, Roles: roles(s.Labels),
	}
	for _, c := range s.Conditions {
		if c.Type == "Ready" {
			r.Node.Ready = c.Status
		}
	}
	r.Loop.Running, r.Loop.Boot, r.Loop.PID, r.Loop.Since = true, s.Boot, s.PID, s.Since
	r.Loop.Complaints, r.Loop.APIServers, r.Loop.Rotation = s.Complaints, s.APIServers, s.Rotation
	r.Manifests = s.Problems
	r.Engine.Network = s.Engine.NetworkReady
	r.Engine.Version = s.Engine.Version
	r.pods(s.Pods)
}

// alone tells what is known without the loop.
func (r *Report) alone(ctx context.Context, s Sources, err error) {
	r.Loop.Error = err.Error()
	if errors.Is(err, local.ErrNotRunning) {
		r.Loop.Error = local.ErrNotRunning.Error()
	}
	if !r.Engine.Healthy {
		return
	}
	pods, err := s.Pods(ctx)
	r.unseen("pods", err)
	r.pods(pods)
}

// pods tells static pods from the rest, of which only those count that are not
// well.
func (r *Report) pods(all []local.Pod) {
	for _, p := range all {
		addLastWords(&p)
		if p.Static {
			r.StaticPods = append(r.StaticPods, p)
			continue
		}
		r.OtherPods.Total++
		if r.Unwell(p) {
			r.OtherPods.Unwell = append(r.OtherPods.Unwell, p)
		}
	}
}

// roles are those that the labels of a node name.
func roles(labels []string) []string {
	var all []string
	for _, l := range labels {
		if role, ok := strings.CutPrefix(l, "node-role.kubernetes.io/"); ok {
			all = append(all, role)
		}
	}
	return all
}
