package main

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"boot.internal/certs"
	"boot.internal/config"
	"boot.internal/etcd"
	"boot.internal/hint"
	"boot.internal/kubelet/local"
	"boot.internal/kubelet/pod"
	"boot.internal/kubelet/runtime"
	"boot.internal/phases"
	"boot.internal/service"
	"boot.internal/status"
)

// A hostLook is this host as status, doctor and support bundle look at it: each
// part on its own, so that none is missed for want of another.
type hostLook struct {
	node   *config.Loop // how the loop is configured, as far as that can be read
	dirs   phases.ResetDirs
	client *local.Client
	log    *slog.Logger
}

func newHostLook(ui *ui) (*hostLook, error) {
	if os.Geteuid() != 0 { // others would take for missing what they may not see
		return nil, hint.With(errors.New("look at this node: only root may ask its loop and read its files"), "run it with sudo")
	}
	dirs := phases.DefaultResetDirs()
	node, err := nodeConfig(ui, filepath.Join(dirs.Kubelet, "config.yaml"))
	if err != nil {
		return nil, err
	}
	dirs.Manifests = cmp.Or(node.Kubelet.StaticPodPath, dirs.Manifests)
	return &hostLook{node: node, dirs: dirs, client: local.NewClient(local.Socket(runDir)), log: ui.logger()}, nil
}

// sources are what a status is made of.
func (h *hostLook) sources() status.Sources {
	return status.Sources{
		Node: h.name(), Begun: h.begun, Loop: h.client.State, Service: h.service, Engine: h.engine, Pods: h.pods,
		Ways: h.ways, Etcd: h.etcd, Certificates: h.certificates,
	}
}

// look is one look at the node.
func (h *hostLook) look(ctx context.Context) status.Report { return status.Look(ctx, h.sources()) }

// name is that of the node, noted when it was made one.
func (h *hostLook) name() string {
	if name, err := ownName(); err == nil {
		return name
	}
	name, _ := os.Hostname() // which there still is
	return strings.ToLower(name)
}

// begun says whether init or join has been at work here.
func (h *hostLook) begun() bool {
	ours, err := hostJournal().Begun()
	return ours || err != nil
}

// certificates are those the node holds, the next to end first.
func (h *hostLook) certificates() []status.Certificate {
	now := time.Now()
	var all []status.Certificate
	for _, held := range certs.Hold(certsFlags{config.DefaultCertificatesDir, h.dirs.Kubernetes}.places()) {
		all = append(all, h.certificate(held, now))
	}
	slices.SortStableFunc(all, func(a, b status.Certificate) int { return a.NotAfter.Compare(b.NotAfter) })
	return all
}

// certificate words what is known of one. The loop renews in time; one that it has
// had plenty of time for will not be renewed.
func (h *hostLook) certificate(held certs.Held, now time.Time) status.Certificate {
	c := status.Certificate{Name: held.Name, Path: held.Path, Authority: held.CA == "", Trouble: held.Trouble(now)}
	if held.Certificate == nil {
		return c
	}
	c.NotAfter = held.Certificate.NotAfter
	due, renewed := held.Due(h.name(), now)
	switch {
	case c.Trouble != "":
	case held.Err != nil:
		c.Trouble = held.Err.Error()
	case renewed && now.After(due.Add(held.Lives()/20)):
		c.Trouble = "it should have been renewed " + status.Short(now.Sub(due)) + " ago"
	}
	return c
}

func (h *hostLook) service(context.Context) (status.Service, error) {
	m, err := service.New(serviceOptions(h.node.Boot, nil, h.log))
	if err != nil {
		return status.Service{}, err
	}
	s := status.Service{Kind: string(m.Kind()), Log: m.LogHint()}
	state, err := service.ReadState(runDir)
	s.Exits, s.Last = state.Exits, state.Last
	return s, err
}

// dial connects to the engine, which the caller closes.
func (h *hostLook) dial(ctx context.Context) (*runtime.Conn, string, error) {
	e, err := findEngine(ctx, h.node.Boot, h.node.Kubelet.ContainerRuntimeEndpoint, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, "", err
	}
	conn, err := runtime.Dial(e.Endpoint(), "")
	return conn, strings.TrimPrefix(e.Endpoint(), "unix://"), err
}

func (h *hostLook) engine(ctx context.Context) status.Engine {
	conn, socket, err := h.dial(ctx)
	if err != nil {
		return status.Engine{Socket: h.node.Kubelet.ContainerRuntimeEndpoint, Error: err.Error()}
	}
	defer func() { _ = conn.Close() }()
	e := status.Engine{Socket: socket}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	r := runtime.New(runtime.Options{CRI: conn.Runtime, Log: h.log})
	if e.Version, err = r.Version(ctx); err == nil {
		var s runtime.Status
		s, err = r.Status(ctx)
		e.Network = s.NetworkReady
		if err == nil && !s.Ready {
			e.Error = s.Message
		}
	}
	if err != nil {
		e.Error = lastOf(err)
	}
	e.Healthy = e.Error == ""
	return e
}

// lastOf leaves what gRPC puts around an error out of it.
func lastOf(err error) string {
	text := err.Error()
	if i := strings.LastIndex(text, "desc = "); i >= 0 {
		text = text[i+len("desc = "):]
	}
	return strings.Trim(text, `"`)
}

// pods asks the engine for what the loop would know better.
func (h *hostLook) pods(ctx context.Context) ([]local.Pod, error) {
	conn, _, err := h.dial(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }()
	r := runtime.New(runtime.Options{CRI: conn.Runtime, Log: h.log})
	keys, err := r.Keys(ctx)
	if err != nil {
		return nil, err
	}
	var all []local.Pod
	for key := range keys {
		have, err := r.Observe(ctx, key)
		if err != nil {
			return all, err
		}
		all = append(all, observed(key, have))
	}
	slices.SortFunc(all, func(a, b local.Pod) int { return strings.Compare(a.Key(), b.Key()) })
	return all, nil
}

// observed words a pod that only the engine was asked about: whether it is ready
// is not known then.
func observed(key pod.Key, have pod.Observed) local.Pod {
	p := local.Pod{Namespace: key.Namespace, Name: key.Name, State: local.Running}
	if len(have.Sandboxes) > 0 {
		s := have.Sandboxes[0]
		p.UID, p.Created, p.Since, p.Source = string(s.UID), s.CreatedAt, s.CreatedAt, s.Source
		p.Static = s.Source == pod.SourceFile || s.Source == pod.SourceHTTP
	}
	seen := map[string]bool{}
	for _, c := range have.Containers { // the newest first
		if seen[c.Name] || string(c.PodUID) != p.UID {
			continue
		}
		seen[c.Name] = true
		p.Restarts += int(c.Attempt)
		is := local.Container{Name: c.Name, Image: c.Image, ID: c.ID, State: string(c.State), Restarts: int(c.Attempt), LogDir: filepath.Dir(c.LogPath)}
		if c.State == pod.Exited && c.ExitCode != 0 {
			is.ExitCode = int(c.ExitCode)
			p.State, p.Since = local.Failed, c.FinishedAt
			p.Failure = &local.Failure{Text: "exit code " + itoa(c.ExitCode), Container: c.Name, At: c.FinishedAt}
		}
		p.Containers = append(p.Containers, is)
	}
	return p
}

// wayTimeout is how long an API server may take to say that it is ready.
const wayTimeout = 1500 * time.Millisecond

// ways tries the kubeconfig of the loop, and on a control plane that of a
// component, which leads to the API server of this node.
func (h *hostLook) ways(ctx context.Context) []status.APIWay {
	var files []string
	for _, name := range []string{"kubelet.conf", "controller-manager.conf"} {
		path := filepath.Join(h.dirs.Kubernetes, name)
		if _, err := os.Stat(path); err == nil {
			files = append(files, path)
		}
	}
	all := make([]status.APIWay, len(files))
	done := make(chan struct{})
	for i, file := range files {
		go func() {
			all[i] = tryAPI(ctx, file)
			done <- struct{}{}
		}()
	}
	for range files {
		<-done
	}
	return all
}

// tryAPI asks the API server that a kubeconfig leads to whether it is ready.
func tryAPI(ctx context.Context, file string) status.APIWay {
	way := status.APIWay{File: file}
	access, err := clientcmd.BuildConfigFromFlags("", file)
	if err != nil {
		way.Error = err.Error()
		return way
	}
	way.Server = access.Host
	ctx, cancel := context.WithTimeout(ctx, wayTimeout)
	defer cancel()
	resp, err := get(ctx, access, "/readyz")
	if err != nil {
		way.Error = reasonOf(err)
		return way
	}
	_ = resp.Body.Close()
	if at, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
		way.Clock = int(at.Sub(time.Now().Truncate(time.Second)).Seconds())
	}
	if way.OK = resp.StatusCode == http.StatusOK; !way.OK {
		way.Error = "it answers " + resp.Status
	}
	return way
}

// get makes one request of an API server; the caller closes the body.
func get(ctx context.Context, access *rest.Config, path string) (*http.Response, error) {
	transport, err := rest.TransportFor(access)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, access.Host+path, nil)
	if err != nil {
		return nil, err
	}
	return transport.RoundTrip(req)
}

// reasonOf says why a server was not reached, without what is known anyway.
func reasonOf(err error) string {
	if os.IsTimeout(err) || strings.Contains(err.Error(), context.DeadlineExceeded.Error()) {
		return "no answer within " + wayTimeout.String()
	}
	return err.Error()
}

// etcd asks the member of this node who the others are, and then all of them.
func (h *hostLook) etcd(ctx context.Context) *status.Etcd {
	if _, err := os.Stat(filepath.Join(h.dirs.Manifests, config.ComponentEtcd+".yaml")); err != nil {
		return nil
	}
	cluster, err := phases.EtcdCluster(phases.EtcdOptions{Manifests: h.dirs.Manifests, CertDir: config.DefaultCertificatesDir})
	if err != nil {
		return &status.Etcd{Error: err.Error()}
	}
	defer func() { _ = cluster.Close() }()
	return etcdStatus(ctx, cluster)
}

func etcdStatus(ctx context.Context, cluster *etcd.Cluster) *status.Etcd {
	const share = 800 * time.Millisecond
	limited, cancel := context.WithTimeout(ctx, share)
	defer cancel()
	seen, err := cluster.MembersSeen(limited)
	if err != nil {
		return &status.Etcd{Error: lastOf(err)}
	}
	limited, cancel = context.WithTimeout(ctx, share)
	defer cancel()
	voted := make(chan error, 1)
	go func() {
		_, err := cluster.Members(limited)
		voted <- err
	}()
	e := &status.Etcd{}
	for _, s := range cluster.Statuses(limited, seen) {
		is := printed(s)
		e.Members = append(e.Members, status.Member{
			Name: is.Name, Role: is.Role, Healthy: is.Healthy, Error: is.Error, Version: is.Version, DBSize: is.DBSize,
		})
	}
	err = <-voted
	if e.Quorum = err == nil; !e.Quorum {
		e.Error = "it does not answer what takes a majority of the members"
	}
	return e
}
