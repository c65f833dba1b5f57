package kubelet

import (
	"strings"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"boot.internal/kubelet/admit"
	"boot.internal/kubelet/pod"
	"boot.internal/timeline"
)

// A diary tells the timeline what the loop does while the node comes up, and what
// it could not have done before. It is called by everybody who does something
// and keeps nobody; once the bring-up is over it does nothing.
type diary struct {
	w         *timeline.Writer // nil: nobody wants to know
	node      string
	manifests string // directory of those that a command writes
	alone     bool   // there is no API server to reach
	sandbox   string // image of every sandbox

	mu     sync.Mutex // guards what follows
	told   map[string]bool
	wanted map[types.UID]bool         // false: it belongs to the cluster, and is not Ready yet
	doing  map[string]timeline.Record // by pod and target: what goes on there, or failed
	last   map[string]string          // by pod: key of the container that was started last
	began  map[string]time.Time       // by pod and container: when it was started last
}

func newDiary(o Options) *diary {
	return &diary{
		w: o.Timeline, node: o.Node, manifests: o.Config.StaticPodPath, alone: o.Kubeconfig == "", sandbox: o.SandboxImage,
		told: map[string]bool{}, wanted: map[types.UID]bool{}, doing: map[string]timeline.Record{}, last: map[string]string{}, began: map[string]time.Time{},
	}
}

// off says whether nobody wants to know any more.
func (d *diary) off() bool { return d == nil || d.w.Over() }

// name is a pod as people call it: a static pod without the name of its node.
func (d *diary) name(p *v1.Pod) string {
	name := p.Name
	if pod.IsStatic(p) {
		name = strings.TrimSuffix(name, "-"+d.node)
	}
	return p.Namespace + "/" + name
}

// once notes something that happens once.
func (d *diary) once(r timeline.Record) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if key := r.Key(); !d.told[key] {
		d.told[key] = true
		d.w.End(r, nil)
		d.settle()
	}
}

// settle says whether all that belongs to a cluster is up. It is called with mu
// held.
func (d *diary) settle() {
	settled := d.alone || d.told[string(timeline.NodeUp)]
	for _, up := range d.wanted {
		settled = settled && up
	}
	d.w.Settle(settled)
}

// loopBegins notes that the loop begins, and that the engine is waited for from then
// on.
func (d *diary) loopBegins() {
	d.once(timeline.Record{Kind: timeline.Loop, Name: d.node})
}

// engineUp notes that the container engine answers.
func (d *diary) engineUp(since time.Time) {
	if d.off() {
		return
	}
	d.once(timeline.Record{Kind: timeline.Answer, Start: since, Needs: []string{string(timeline.Loop), string(timeline.Engine)}})
}

// desired notes pods that are wanted for the first time.
func (d *diary) desired(pods []*v1.Pod) {
	if d.off() {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, p := range pods {
		if _, known := d.wanted[p.UID]; known {
			continue
		}
		goal := pod.IsStatic(p) || admit.IsCritical(p)
		d.wanted[p.UID] = !goal
		r := timeline.Record{Kind: timeline.Wanted, Pod: d.name(p), Goal: goal, Needs: []string{string(timeline.Answer)}}
		if pod.IsStatic(p) {
			r.Needs = append(r.Needs, timeline.ManifestKey(d.manifests, strings.TrimPrefix(r.Pod, p.Namespace+"/")))
		} else {
			r.Needs = append(r.Needs, string(timeline.API))
		}
		d.w.End(r, nil)
	}
	d.settle()
}

// acting notes that an action begins, and returns what notes its end.
func (d *diary) acting(p *v1.Pod, a pod.Action) (ended func(error)) {
	if d.off() || p == nil {
		return func(error) {}
	}
	switch a := a.(type) {
	case pod.CreateSandbox:
		return d.acts(p, "", d.sandboxOf(p))
	case pod.StartContainer:
		return d.acts(p, a.Name, d.imageOf(p, a.Name))
	}
	return func(error) {}
}

func (d *diary) sandboxOf(p *v1.Pod) timeline.Record {
	name := d.name(p)
	r := timeline.Record{Kind: timeline.Sandbox, Pod: name, Needs: []string{timeline.PodKey(timeline.Wanted, name), imported(d.sandbox)}}
	if !pod.IsHostNetwork(p) {
		r.Needs = append(r.Needs, string(timeline.Network))
	}
	return r
}

// imageOf is the first part of starting a container.
func (d *diary) imageOf(p *v1.Pod, container string) timeline.Record {
	name := d.name(p)
	r := timeline.Record{Kind: timeline.Image, Pod: name, Container: container, Needs: []string{timeline.PodKey(timeline.Sandbox, name)}}
	if declared, ok := pod.Find(p, container); ok {
		r.Name = declared.Image
		r.Needs = append(r.Needs, imported(declared.Image))
	}
	return r
}

// imported is the key of the import of an image, by whatever name.
func imported(image string) string {
	return timeline.ImportKey(fullName(image))
}

// acts notes the beginning of an action on a container, or on the sandbox if that
// is "". What failed before goes on.
func (d *diary) acts(p *v1.Pod, container string, r timeline.Record) (ended func(error)) {
	key := r.Pod + "/" + container
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, tried := d.doing[key]; !tried {
		if before, ok := d.last[r.Pod]; ok {
			r.Needs = append(r.Needs, before)
		}
		d.doing[key] = d.w.Begin(r)
	}
	return func(err error) { d.acted(p, container, err) }
}

// acted notes the end of an action.
func (d *diary) acted(p *v1.Pod, container string, err error) {
	key := d.name(p) + "/" + container
	d.mu.Lock()
	defer d.mu.Unlock()
	r, ok := d.doing[key]
	if !ok {
		return
	}
	if err != nil {
		if r.Err != err.Error() {
			r.Err = err.Error()
			d.doing[key] = r
			d.w.End(r, err)
		}
		return
	}
	if r.Kind != timeline.Start { // a container's is over already
		r.Err = ""
		d.w.End(r, nil)
	}
	delete(d.doing, key)
	if container != "" {
		d.last[r.Pod] = r.Key()
	}
}

// heard notes the parts of starting a container as events tell of them.
func (d *diary) heard(p *v1.Pod, container, reason string) {
	parts := map[string]struct{ over, next timeline.Kind }{
		"Pulled":  {timeline.Image, timeline.Create},
		"Created": {timeline.Create, timeline.Start},
		"Started": {timeline.Start, ""}, // what follows is its hook
	}
	part, ok := parts[reason]
	if !ok || d.off() {
		return
	}
	name := d.name(p)
	key := name + "/" + container
	d.mu.Lock()
	defer d.mu.Unlock()
	r, ok := d.doing[key]
	if !ok || r.Kind != part.over {
		return
	}
	r.Err = ""
	d.w.End(r, nil)
	if part.next == "" {
		d.began[key] = time.Now()
		return
	}
	d.doing[key] = d.w.Begin(timeline.Record{Kind: part.next, Pod: name, Container: container, Needs: []string{r.Key()}})
}

// said notes which containers of a pod became ready, and that the pod did for the
// first time.
func (d *diary) said(p *v1.Pod, before, now v1.PodStatus) {
	if d.off() {
		return
	}
	name := d.name(p)
	was := map[string]bool{}
	for _, c := range before.ContainerStatuses {
		was[c.ContainerID] = c.Ready
	}
	needs := []string{}
	for _, c := range now.ContainerStatuses {
		needs = append(needs, timeline.ContainerKey(timeline.Ready, name, c.Name))
		if c.Ready && !was[c.ContainerID] && c.State.Running != nil {
			d.w.End(timeline.Record{
				Kind: timeline.Ready, Pod: name, Container: c.Name, Start: d.startOf(name, c),
				Needs: []string{timeline.ContainerKey(timeline.Start, name, c.Name), timeline.PodKey(timeline.Wanted, name)},
			}, nil)
		}
	}
	if pod.IsReady(now) {
		d.mu.Lock()
		if _, known := d.wanted[p.UID]; known {
			d.wanted[p.UID] = true
		}
		d.mu.Unlock()
		d.once(timeline.Record{Kind: timeline.PodUp, Pod: name, Needs: needs})
	}
}

// startOf is when a container that runs was started. What others say of that is
// rounded to seconds.
func (d *diary) startOf(pod string, c v1.ContainerStatus) time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	if at, ok := d.began[pod+"/"+c.Name]; ok {
		return at
	}
	return c.State.Running.StartedAt.Time
}

// reaching notes that access to the API server is waited for, and returns what
// notes that there is some.
func (d *diary) reaching() (reached func()) {
	if d.off() {
		return func() {}
	}
	r := d.w.Begin(timeline.Record{Kind: timeline.API, Needs: []string{string(timeline.Loop)}})
	return func() { d.once(r) }
}

// nodeIs notes what comes of the node.
func (d *diary) nodeIs(n *v1.Node) {
	if n == nil || d.off() {
		return
	}
	d.once(timeline.Record{Kind: timeline.Node, Needs: []string{string(timeline.API)}})
	if len(n.Spec.PodCIDRs) > 0 {
		d.once(timeline.Record{Kind: timeline.CIDR, Needs: []string{string(timeline.Node)}})
	}
	for _, c := range n.Status.Conditions {
		if c.Type == v1.NodeReady && c.Status == v1.ConditionTrue {
			d.once(timeline.Record{Kind: timeline.NodeUp, Needs: []string{string(timeline.Node), string(timeline.Network)}})
		}
	}
}

// networkUp notes that pods can be connected.
func (d *diary) networkUp() {
	if !d.off() {
		d.once(timeline.Record{Kind: timeline.Network, Needs: []string{string(timeline.CIDR), string(timeline.Answer)}})
	}
}

// mirrorChanged looks after a mirror of which the API has something new.
func (k *kubelet) mirrorChanged(key pod.Key) {
	k.writer.Poke()
	if m, ok := k.mirrors.Pod(key); ok {
		k.diary.mirrored(m)
	}
}

// mirrored notes that the API has the mirror of a static pod.
func (d *diary) mirrored(m *v1.Pod) {
	if d.off() {
		return
	}
	name := m.Namespace + "/" + strings.TrimSuffix(m.Name, "-"+d.node)
	d.once(timeline.Record{Kind: timeline.Mirror, Pod: name, Needs: []string{
		string(timeline.API), string(timeline.Node), timeline.PodKey(timeline.Wanted, name),
	}})
}
