package phases

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"

	"boot.internal/config"
	"boot.internal/journal"
	"boot.internal/network"
	"boot.internal/process"
)

// ResetDirs are the places that a reset clears.
type ResetDirs struct {
	Kubernetes    string // directory of the kubeconfigs: /etc/kubernetes
	Manifests     string // directory of the static pods: /etc/kubernetes/manifests
	Kubelet       string // directory of the kubelet: /var/lib/kubelet
	Etcd          string // where etcd's data is if no manifest says otherwise: /var/lib/etcd
	PodLogs       string // logs of containers: /var/log/pods
	ContainerLogs string // links to those logs: /var/log/containers
	CNI           string // where the engine looks for CNI configurations: /etc/cni/net.d
	CNIResults    string // what CNI plugins did for each pod: /var/lib/cni/results
	State         string // what boot keeps: /var/lib/boot
	Run           string // what boot keeps until the host restarts: /run/boot
	Logs          string // boot's own logs: /var/log/boot
	Logind        string // what has shutdowns wait for pods: /etc/systemd/logind.conf.d/99-kubelet.conf
	XtablesLock   string // what users of iptables take turns by: /run/xtables.lock
	Modules       string // modules of the kernel; kube-proxy's pod makes it on a host without any: /lib/modules
}

// DefaultResetDirs are where everything is outside of tests.
func DefaultResetDirs() ResetDirs {
	return ResetDirs{
		Kubernetes: DefaultDirs().Kubernetes, Manifests: config.DefaultManifestsDir, Kubelet: DefaultDirs().Kubelet,
		Etcd: config.DefaultEtcdDataDir, PodLogs: "/var/log/pods", ContainerLogs: "/var/log/containers",
		CNI: "/etc/cni/net.d", CNIResults: "/var/lib/cni/results", State: "/var/lib/boot", Run: "/run/boot", Logs: "/var/log/boot",
		Logind: "/etc/systemd/logind.conf.d/99-kubelet.conf", XtablesLock: "/run/xtables.lock", Modules: "/lib/modules",
	}
}

// Loop is the kubelet loop as it is taken off the host, whoever runs it: a
// service manager, its supervisor, or somebody in a terminal.
type Loop interface {
	// Left says whether there is anything of it to stop or to remove.
	Left(ctx context.Context) (bool, error)
	// Stop ends the loop and has it not come back. Its pods go on running.
	Stop(ctx context.Context) error
}

// OwnEngine is the container engine that boot brought along.
type OwnEngine interface {
	// Running says whether the engine runs.
	Running() (bool, error)
	// Shims returns the processes that hold its containers. They outlive it.
	Shims() ([]process.ID, error)
	// Stop ends the engine and its shims.
	Stop(ctx context.Context) error
}

// A PodCgroup is a control group that has all pods in it.
type PodCgroup struct {
	Name  string       // "/kubepods"; "/kubepods.slice" where systemd makes the groups
	Clean func() error // removes it with the groups in it, none of which has processes by then
}

// ResetOptions are the values the phases of "boot reset" are built with.
type ResetOptions struct {
	Config *config.ResetConfiguration
	Dirs   ResetDirs
	// Journal is of this host: what boot found there and what it changed.
	Journal *journal.Journal
	// Purge also removes what may be of use to a next cluster: the image
	// archives that boot imports, and its logs.
	Purge bool

	Loop Loop
	// Pods are those that boot runs, as the engine has them.
	Pods Pods
	// Engine is nil where boot uses the engine of somebody else. That one is
	// left alone, with all it has but boot's pods.
	Engine OwnEngine
	// Leftovers lists what the pod network and kube-proxy have put on the host.
	Leftovers func(ctx context.Context) ([]network.Leftover, error)
	// Cgroups are the control groups that pods may be in.
	Cgroups []PodCgroup

	// ReloadLogind has logind read its configuration, if there is any.
	ReloadLogind func(context.Context) error
	// Leave is what else there is to do for the cluster to get on without the node.
	Leave Leave

	host *hostView // another host than this, in tests
}

// Reset returns the phases of "boot reset" in the order of the work: what runs
// comes before what it runs on, files after everything that uses them, and
// what tells a next run what there is to do comes last. Each finds by itself
// what is left, so it does not matter how far an init or a reset has come.
func Reset(o ResetOptions) []Step {
	if o.host == nil {
		o.host = thisHost()
	}
	r := reset{o, map[string]bool{}}
	return []Step{
		{"preflight", "Check that this node can be reset", PlanFunc(r.preflight)},
		// Whatever keeps the node from leaving does so before anything is undone.
		{"drain-node", "Have other nodes take over the pods, if asked to", PlanFunc(r.drain)},
		// A member that goes without a word costs the others their quorum, and
		// can only be removed while it has one.
		{"remove-etcd-member", "Remove this node's etcd from a cluster that has others", r.member()},

		// Nothing may bring back what is stopped.
		{"cleanup-node/kubelet", "Stop the kubelet loop", PlanFunc(r.loop)},
		{"delete-node", "Delete the Node object, if asked to", PlanFunc(r.deleteNode)},
		{"cleanup-node/pods", "Stop the pods, the API server and etcd last", newStopPods(o.Pods, o.Engine, r.strays)},
		{"cleanup-node/engine", "Stop boot's own container engine", stopEngine{o.Engine, r.strays}},

		{"cleanup-node/mounts", "Unmount what pods and containers had mounted", PlanFunc(r.mounts)},
		{"cleanup-node/network", "Remove the pod network and the rules of kube-proxy", PlanFunc(r.network)},
		{"cleanup-node/cgroups", "Remove the control groups of pods", PlanFunc(r.cgroups)},

		// The manifests tell where etcd's data and the certificates are.
		{"cleanup-node/etcd", "Remove the data of a local etcd", PlanFunc(r.etcd)},
		{"cleanup-node/certs", "Remove the certificates that boot made", PlanFunc(r.certs)},
		{"cleanup-node/kubernetes", "Remove the kubeconfigs and static Pod manifests that boot wrote", PlanFunc(r.kubernetes)},
		{"cleanup-node/files", "Remove the files of the kubelet and the logs of pods", PlanFunc(r.files)},

		{"cleanup-node/host", "Give the kernel its settings back", PlanFunc(r.kernel)},
		{"cleanup-node/shutdown", "Have shutdowns of this host wait no longer than before", PlanFunc(r.logind)},
		{"cleanup-node/boot", "Remove what boot kept for itself", PlanFunc(r.own)},
	}
}

// ResetPhases lists the phases of "boot reset" for help and completion.
func ResetPhases() []Entry {
	return List(Reset(ResetOptions{Config: &config.ResetConfiguration{}}))
}

// A reset is the part of all phases that needs no more than the options.
type reset struct {
	ResetOptions
	// gone are the paths that phases so far have planned to remove, which a dry
	// run leaves where they are.
	gone map[string]bool
}

// preflight asks for the rights that everything else needs.
func (r reset) preflight(ctx context.Context) ([]Change, error) {
	cfg := &config.Init{}
	cfg.Init.NodeRegistration.IgnorePreflightErrors = r.Config.IgnorePreflightErrors
	p := preflight{PreflightOptions{Config: cfg, host: r.host}}
	if stop := p.tell(ctx, checkUser(ctx, p, false)); len(stop) > 0 {
		return nil, &PreflightError{Findings: stop}
	}
	return nil, nil
}

func (r reset) loop(ctx context.Context) ([]Change, error) {
	left, err := r.Loop.Left(ctx)
	if err != nil || !left {
		return nil, err
	}
	return []Change{{"stop the kubelet loop", r.Loop.Stop}}, nil
}

func (r reset) network(ctx context.Context) ([]Change, error) {
	all, err := r.Leftovers(ctx)
	if err != nil {
		return nil, err
	}
	loopbacks, err := r.loopbacks()
	if err != nil {
		return nil, err
	}
	if len(all) > 0 {
		r.gone[filepath.Join(r.Dirs.CNI, bridgeConf)] = true
	}
	changes := loopbacks // their directory may go with the rest
	for _, l := range all {
		changes = append(changes, Change{l.Desc, l.Remove})
	}
	return changes, nil
}

// loopbacks removes what is noted of the loopback interfaces of pods that boot's
// own engine could not take down. The notes of all engines are in one place.
func (r reset) loopbacks() ([]Change, error) {
	const prefix, suffix = "cni-loopback-", "-lo"
	notes, err := filepath.Glob(filepath.Join(r.Dirs.CNIResults, prefix+"*"+suffix))
	if err != nil {
		return nil, err
	}
	c := r.clearing()
	for _, path := range notes {
		sandbox := strings.TrimSuffix(strings.TrimPrefix(filepath.Base(path), prefix), suffix)
		if exists(filepath.Join(r.Dirs.State, "containerd/io.containerd.grpc.v1.cri/sandboxes", sandbox)) {
			c.add(path, os.Remove)
		}
	}
	return c.changes, nil
}

// bridgeConf is the configuration of the pod network, which goes with it.
const bridgeConf = "10-boot.conflist"

func exists(path string) bool {
	_, err := os.Lstat(path)
	return !errors.Is(err, os.ErrNotExist)
}
