package kubelet

import (
	"context"
	"path/filepath"

	"golang.org/x/sync/errgroup"
	v1 "k8s.io/api/core/v1"

	"boot.internal/kubelet/pod"
	"boot.internal/kubelet/source"
)

// readSources passes on what files, the URL and the API want, each time one
// changes. A source that is not configured wants nothing. The API is read by
// followAPI, once there is one.
func (k *kubelet) readSources(ctx context.Context) {
	send := func(s source.Snapshot) { k.wanted(ctx, s) }
	c := k.o.Config
	var g errgroup.Group
	nothing := map[string]bool{
		pod.SourceFile: c.StaticPodPath == "", pod.SourceHTTP: c.StaticPodURL == "", pod.SourceAPI: k.o.Kubeconfig == "",
	}
	g.Go(func() error { k.merge(ctx, nothing, k.snapshots); return nil })
	if c.StaticPodPath != "" {
		file := source.File(source.FileOptions{
			Path: c.StaticPodPath, Node: k.o.Node, Interval: c.FileCheckFrequency.Duration,
			State: filepath.Join(k.o.StateDir, "manifests.json"), Log: k.o.Logger,
		})
		g.Go(func() error { file.Run(ctx, send); return nil })
	}
	if c.StaticPodURL != "" {
		url := source.HTTP(source.HTTPOptions{
			URL: c.StaticPodURL, Header: c.StaticPodURLHeader, Node: k.o.Node, Interval: c.HTTPCheckFrequency.Duration,
		})
		g.Go(func() error { url.Run(ctx, send); return nil })
	}
	_ = g.Wait() // none of them has an error to return
}

// wanted takes what an origin wants now.
func (k *kubelet) wanted(ctx context.Context, s source.Snapshot) {
	select {
	case k.snapshots <- s:
	case <-ctx.Done():
	}
}

// merge joins what the origins want and tells the dispatcher.
func (k *kubelet) merge(ctx context.Context, nothing map[string]bool, snapshots <-chan source.Snapshot) {
	m := source.NewMerge(pod.SourceFile, pod.SourceHTTP, pod.SourceAPI)
	for origin, is := range nothing {
		if is {
			m.Put(source.Snapshot{Origin: origin})
		}
	}
	for {
		pods, problems := m.Desired()
		k.complain(problems)
		d := desired{pods: pods, synced: map[string]bool{}}
		var pending []string
		for origin := range nothing {
			d.synced[origin] = m.Synced(origin)
			if !d.synced[origin] {
				pending = append(pending, origin)
			}
		}
		d.heard = func() {
			k.pending.Store(&pending) // the mirrors of their pods are no orphans yet
			k.greet(pods)
		}
		select {
		case k.dispatch.desired <- d:
		case <-ctx.Done():
			return
		}
		select {
		case s := <-snapshots:
			m.Put(s)
		case <-ctx.Done():
			return
		}
	}
}

// complain tells of each problem of a source once, for as long as it stays.
func (k *kubelet) complain(problems []source.Problem) {
	now := make(map[source.Problem]bool, len(problems))
	for _, p := range problems {
		now[p] = true
		if k.problems[p] {
			continue
		}
		message := p.String()
		if p.Hint != "" {
			message += " (" + p.Hint + ")"
		}
		k.events.ofNode(v1.EventTypeWarning, string(p.Reason), message)
	}
	k.problems = now
	k.desk.setProblems(problems)
}
