package kubelet

import (
	"cmp"
	"context"
	"crypto/tls"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"

	"boot.internal/kubelet/local"
	"boot.internal/kubelet/pod"
	"boot.internal/kubelet/source"
)

// A desk is where commands of this host ask the loop.
type desk struct {
	server     *local.Server
	complaints *local.Complaints
	started    time.Time

	mu       sync.Mutex
	problems map[source.Problem]time.Time // with manifests, and since when
}

// newDesk makes the desk, which listens to the log from here on.
func newDesk(o *Options) *desk {
	d := &desk{complaints: local.NewComplaints(), started: time.Now()}
	o.Logger = slog.New(d.complaints.Handler(o.Logger.Handler()))
	return d
}

// runDesk answers commands until ctx ends. A loop that cannot is no worse a loop.
func (k *kubelet) runDesk(ctx context.Context) {
	if k.o.Socket == "" {
		return
	}
	if err := k.desk.server.Run(ctx, k.o.Socket); err != nil {
		k.o.Logger.LogAttrs(ctx, slog.LevelWarn, "answer commands of this host", slog.String("path", k.o.Socket), slog.Any("err", err))
	}
}

// changed says that there may be something new to tell. Parts of a loop have no desk.
func (d *desk) changed() {
	if d != nil {
		d.server.Changed()
	}
}

// setProblems notes what is wrong with manifests.
func (d *desk) setProblems(problems []source.Problem) {
	d.mu.Lock()
	old := d.problems
	d.problems = make(map[source.Problem]time.Time, len(problems))
	for _, p := range problems {
		since, ok := old[p]
		if !ok {
			since = time.Now()
		}
		d.problems[p] = since
	}
	d.mu.Unlock()
	d.changed()
}

// localState is what the loop knows now.
func (k *kubelet) localState() local.State {
	c := k.o.Config
	s := local.State{
		Node: k.o.Node, Boot: k.o.BootVersion, Kubernetes: k.o.Version, PID: os.Getpid(), Since: k.desk.started, Now: time.Now(),
		Engine: k.localEngine(), Pods: k.localPods(), ManifestDir: c.StaticPodPath,
		APIServers: k.localServers(), Certificates: k.localCertificates(), Complaints: k.desk.complaints.All(),
		Rotation: k.rotator.state(),
	}
	for _, condition := range k.node.Conditions() {
		s.Conditions = append(s.Conditions, local.Condition{
			Type: string(condition.Type), Status: string(condition.Status), Reason: condition.Reason,
			Message: condition.Message, Since: condition.LastTransitionTime.Time,
		})
	}
	if n := k.node.Node(); n != nil {
		s.Registered, s.Labels = true, slices.Sorted(maps.Keys(n.Labels))
	}
	if pending := k.pending.Load(); pending != nil {
		s.Pending = slices.Sorted(slices.Values(*pending))
	}
	s.Problems = k.localProblems(s.Pods)
	return s
}

func (k *kubelet) localEngine() local.Engine {
	e := local.Engine{Endpoint: k.o.Config.ContainerRuntimeEndpoint}
	now := k.engine.Load()
	switch {
	case now == nil:
		e.Message = "it has not answered yet"
		return e
	case now.err != nil:
		e.Message = now.err.Error()
	default:
		e.Message = now.Message
	}
	e.Version, e.Ready, e.NetworkReady = now.version, now.Ready, now.NetworkReady
	return e
}

// localPods are those desired and those still going, by namespace and name.
func (k *kubelet) localPods() []local.Pod {
	k.mu.Lock()
	wanted, going := k.now, k.going
	k.mu.Unlock()
	all := make([]local.Pod, 0, len(wanted)+len(going))
	keys := make(map[string]bool, cap(all))
	for _, p := range wanted {
		all = append(all, k.localPod(p))
		keys[pod.KeyOf(p).String()] = true
	}
	for _, p := range going {
		is := k.localPod(p)
		is.State = local.Ending
		all = append(all, is)
		keys[is.Key()] = true
	}
	k.desk.complaints.Keep(keys)
	slices.SortFunc(all, func(a, b local.Pod) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	return all
}

func (k *kubelet) localPod(p *v1.Pod) local.Pod {
	s, _ := k.writer.Peek(p.UID)
	out := local.PodOf(p, s, k.desk.complaints.OfPod(pod.KeyOf(p).String()))
	for i := range out.Containers {
		c := &out.Containers[i]
		c.LogDir = filepath.Join(k.o.PodLogsDir, strings.Join([]string{p.Namespace, p.Name, string(p.UID)}, "_"), c.Name)
	}
	return out
}

// localProblems words what is wrong with manifests. Of a pod that goes on as it
// was, it also says since when that version runs.
func (k *kubelet) localProblems(pods []local.Pod) []local.Problem {
	k.desk.mu.Lock()
	defer k.desk.mu.Unlock()
	var all []local.Problem
	for p, since := range k.desk.problems {
		is := local.Problem{
			Path: p.Path, Line: p.Line, Reason: string(p.Reason), Message: p.Message, Hint: p.Hint, Since: since,
		}
		if p.Pod.Name != "" {
			is.Pod = p.Pod.String()
		}
		i := slices.IndexFunc(pods, func(pod local.Pod) bool { return pod.Key() == is.Pod })
		if p.Reason == source.Kept && i >= 0 {
			is.Kept = pods[i].Since
		}
		all = append(all, is)
	}
	slices.SortFunc(all, func(a, b local.Problem) int {
		return cmp.Or(cmp.Compare(a.Path, b.Path), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Message, b.Message))
	})
	return all
}

func (k *kubelet) localServers() []local.APIServer {
	if k.balancer == nil {
		return nil
	}
	var all []local.APIServer
	servers, _ := k.balancer.Servers()
	for _, s := range servers {
		is := local.APIServer{Address: s.Address, Health: s.Health.String(), InUse: s.InUse, Connections: s.Connections}
		if s.Reason != nil {
			is.Reason = s.Reason.Error()
		}
		all = append(all, is)
	}
	return all
}

// localCertificates are those the loop asks the cluster for.
func (k *kubelet) localCertificates() []local.Certificate {
	var all []local.Certificate
	for _, of := range []struct {
		name string
		cert *tls.Certificate
	}{{"kubelet-client", k.identity.clientCertificate()}, {"kubelet-serving", k.identity.signed()}} {
		if of.cert != nil && of.cert.Leaf != nil {
			all = append(all, local.Certificate{Name: of.name, NotAfter: of.cert.Leaf.NotAfter})
		}
	}
	return all
}
