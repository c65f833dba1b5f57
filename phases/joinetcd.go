package phases

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"boot.internal/certs"
	"boot.internal/config"
	"boot.internal/etcd"
	"boot.internal/filelock"
	"boot.internal/hint"
	"boot.internal/templates"
)

// Images are those of the container engine.
type Images interface {
	// Present says whether the engine has an image.
	Present(ctx context.Context, image string) (bool, error)
	// Get has the engine get an image, out of an archive or from its registry. It
	// waits for an engine that is only starting.
	Get(ctx context.Context, image string) error
}

// A joinEtcd makes this node's etcd a member of the cluster's. A member comes as a
// learner, which the others' quorum does not depend on, and gets its vote when it
// is in sync. Members come one at a time.
//
//	(none) ──add──► learner ──manifest──► it runs ──promote──► voter
//	   ▲              │ fails: manifest and learner are removed     killed: run again,
//	   └──────────────┘                                             or taken away by the next to join
type joinEtcd struct {
	cfg        *config.Init
	api        apiServer // as an administrator, through the API server that was found
	pods       manifests
	tree       certs.Paths
	images     Images
	components Components
	dir        string        // of what boot keeps for itself
	patience   time.Duration // with a learner of somebody else's: orphanPatience
}

// Plan implements Phase.
func (p joinEtcd) Plan(ctx context.Context) ([]Change, error) {
	members, err := p.members(ctx)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err // without an identity nobody can be asked yet
	}
	me, is := etcd.At(members, p.peerURL())
	if is && !me.Learner && !p.note().there() && exists(p.manifest()) {
		return p.pods.planEtcd(p.knownCluster())
	}
	image := p.cfg.Cluster.Image(config.ComponentEtcd)
	var changes []Change
	// It is there before the member is: what is then awaited is not the network.
	if present, err := p.images.Present(ctx, image); err != nil || !present {
		changes = append(changes, Change{"get the image " + image, func(ctx context.Context) error { return p.images.Get(ctx, image) }})
	}
	with := ""
	if others := p.others(members); len(others) > 0 {
		with = " of " + etcd.Names(others)
	}
	return append(changes, Change{
		fmt.Sprintf("add %s to the etcd cluster%s as a learner, write %s, and promote it when it is in sync", p.name(), with, p.manifest()),
		p.join,
	}), nil
}

func (p joinEtcd) name() string { return p.cfg.Init.NodeRegistration.Name }

func (p joinEtcd) peerURL() string { return templates.EtcdPeerURL(p.cfg) }

func (p joinEtcd) manifest() string {
	return filepath.Join(p.cfg.Kubelet.StaticPodPath, config.ComponentEtcd+".yaml")
}

func (p joinEtcd) timeout() time.Duration { return limit(p.cfg.Init.Timeouts.EtcdAPICall) }

func (p joinEtcd) others(members []etcd.Member) []etcd.Member {
	return slices.DeleteFunc(slices.Clone(members), func(m etcd.Member) bool { return slices.Contains(m.PeerURLs, p.peerURL()) })
}

// knownCluster is what the manifest that is there says of the cluster: members
// that came and went later are no reason to write another.
func (p joinEtcd) knownCluster() string {
	pod, err := readPod(p.manifest())
	if err != nil {
		return ""
	}
	return flagOf(pod, "initial-cluster")
}

// members asks who is a member, and asks again meanwhile: a cluster that has just
// got another vote may have no leader for a moment.
func (p joinEtcd) members(ctx context.Context) (members []etcd.Member, err error) {
	c, err := p.cluster(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { _ = c.Close() }()
	err = until(ctx, lookTimeout, func(ctx context.Context) (bool, error) {
		members, err = c.Members(ctx)
		return err == nil, err
	})
	return members, err
}

// cluster returns a client of the members there are.
func (p joinEtcd) cluster(ctx context.Context) (*etcd.Cluster, error) {
	urls, err := p.endpoints(ctx)
	if err != nil {
		return nil, err
	}
	if len(urls) == 0 {
		return nil, hint.With(errors.New("no etcd pod of the cluster says where it is reached"),
			"every control plane's has the annotation "+etcdClientURLs+"; if etcd is run by others, it has to be in the ClusterConfiguration as external")
	}
	return etcdCluster(p.tree, urls)
}

// endpoints are where the etcd pods of the cluster are reached, by what kubeadm and
// boot write on them, but for this node's own.
func (p joinEtcd) endpoints(ctx context.Context) ([]string, error) {
	var list *unstructured.UnstructuredList
	err := p.api.call(ctx, readAgain, func(ctx context.Context) error {
		r, err := p.api.resource(corev1.SchemeGroupVersion.WithKind("Pod"), metav1.NamespaceSystem)
		if err != nil {
			return err
		}
		list, err = r.List(ctx, metav1.ListOptions{LabelSelector: "component=etcd,tier=control-plane"})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list the pods of etcd: %w", err)
	}
	var urls []string
	for _, item := range list.Items {
		var pod corev1.Pod
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(item.Object, &pod); err != nil {
			return nil, fmt.Errorf("decode %s: %w", describe(&item), err)
		}
		if pod.Spec.NodeName != p.name() {
			urls = append(urls, clientURLs(&pod)...)
		}
	}
	return urls, nil
}

// join makes this node's etcd a member, when it is its turn.
func (p joinEtcd) join(ctx context.Context) error {
	// A turn that this node still has is that of a process that has ended.
	lock, err := filelock.Take(ctx, filepath.Join(p.dir, "etcd-join.lock"))
	if err != nil {
		return err
	}
	defer lock.Release()
	t := turn{api: p.api, holder: p.name() + "@" + p.cfg.Init.LocalAPIEndpoint.AdvertiseAddress}
	return t.hold(ctx, p.joinInTurn)
}

func (p joinEtcd) joinInTurn(ctx context.Context) error {
	c, err := p.cluster(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	j := etcdJoin{p, c}
	me, err := j.admit(ctx)
	if err == nil {
		err = j.begin(ctx, me)
	}
	if err != nil && me.ID != 0 {
		return errors.Join(err, j.leave(context.WithoutCancel(ctx), me))
	}
	return err
}

// begin starts the member that was admitted, and waits until it has its vote.
func (j etcdJoin) begin(ctx context.Context, me etcd.Member) error {
	if err := j.note().write(me.ID); err != nil {
		return err
	}
	if err := j.start(ctx); err != nil {
		return err
	}
	timeout := limit(j.cfg.Init.Timeouts.ControlPlaneComponentHealthCheck)
	err := j.c.Promote(ctx, me.ID, etcd.Waiting{
		Stalled: timeout, All: 5 * timeout, Tell: func(what string) { waiting(ctx, what) },
	})
	if err != nil {
		return hint.With(err, "the log of etcd is in /var/log/pods/kube-system_etcd-"+j.name()+"_*; the others have to be reached at port 2380, and this node by them")
	}
	return j.note().remove()
}

// start writes the manifest, with the members as they are now: etcd compares them
// when it starts for the first time.
func (j etcdJoin) start(ctx context.Context) error {
	members, err := j.c.Members(ctx)
	if err != nil {
		return err
	}
	cluster := j.knownCluster()
	if cluster == "" || !j.hasData() {
		cluster = j.initialCluster(members)
	}
	changes, err := j.pods.planEtcd(cluster)
	if err != nil {
		return err
	}
	for _, c := range changes {
		if err := c.Apply(ctx); err != nil {
			return err
		}
	}
	return nil
}

// initialCluster lists the members as etcd's flag does.
func (p joinEtcd) initialCluster(members []etcd.Member) string {
	var all []string
	for _, m := range members {
		name := m.String()
		if slices.Contains(m.PeerURLs, p.peerURL()) {
			name = p.name() // the others do not know it yet
		}
		for _, u := range m.PeerURLs {
			all = append(all, name+"="+u)
		}
	}
	slices.Sort(all)
	return strings.Join(all, ",")
}
