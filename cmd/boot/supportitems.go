package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"golang.org/x/sys/unix"
	"k8s.io/client-go/tools/clientcmd"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"boot.internal/config"
	"boot.internal/kubelet/runtime"
	"boot.internal/status"
	"boot.internal/support"
)

// supportItems are what goes into a support bundle.
func (h *hostLook) supportItems() []support.Item {
	return slices.Concat(h.nodeItems(), h.configItems(), h.logItems(), h.engineItems(), h.clusterItems(), hostItems(), networkItems())
}

// nodeItems are what boot itself has to say. All of them are of one look, so that
// they tell of the same moment.
func (h *hostLook) nodeItems() []support.Item {
	look := onceLooked(h.look)
	return []support.Item{
		support.JSON("version.json", func(context.Context) (any, error) { return thisVersion(), nil }),
		support.JSON("status.json", func(ctx context.Context) (any, error) { return look(ctx), nil }),
		{Name: "status.txt", Collect: func(ctx context.Context, to io.Writer) error {
			_, err := io.WriteString(to, status.Screen(look(ctx), 80, func(_ status.Tone, text string) string { return text }))
			return err
		}},
		support.JSON("doctor.json", func(ctx context.Context) (any, error) { return h.diagnose(ctx, look), nil }),
		support.JSON("loop.json", func(ctx context.Context) (any, error) { return h.client.State(ctx) }),
	}
}

// onceLooked returns a look that is made when it is first asked for, and no more.
func onceLooked(look func(context.Context) status.Report) func(context.Context) status.Report {
	var once sync.Once
	var r status.Report
	return func(ctx context.Context) status.Report {
		once.Do(func() { r = look(ctx) })
		return r
	}
}

// configItems are how the node is configured. Kubeconfigs and keys are not among
// them.
func (h *hostLook) configItems() []support.Item {
	const most = 100
	return slices.Concat(
		[]support.Item{
			support.File("config/kubelet.yaml", filepath.Join(h.dirs.Kubelet, "config.yaml")),
			support.File("config/journal.json", filepath.Join(h.dirs.State, "journal.json")),
			support.File("config/apiservers.json", filepath.Join(h.dirs.State, "apiservers.json")),
			support.File("config/loop-service.json", filepath.Join(runDir, "kubelet.json")),
			support.File("config/containerd.toml", filepath.Join(h.dirs.State, "containerd", "config.toml")),
		},
		support.Files("manifests", filepath.Join(h.dirs.Manifests, "*"), most),
		support.Files("cni", filepath.Join(h.dirs.CNI, "*"), most),
	)
}

// logItems are the ends of logs: of the loop and the engine, of the units that may
// run them, and of the pods of kube-system, whose names are in their directories.
func (h *hostLook) logItems() []support.Item {
	const most = 200
	all := support.Files("logs", filepath.Join(h.dirs.Logs, "*"), most)
	for _, unit := range []string{"boot-kubelet", "containerd", "crio"} {
		if h.hasUnit(unit) {
			all = append(all, support.Command("logs/journal-"+unit+".txt", "journalctl", "--no-pager", "-u", unit, "-n", "5000"))
		}
	}
	paths, _ := filepath.Glob(filepath.Join(h.dirs.PodLogs, "kube-system_*", "*", "*.log")) // the pattern is well formed
	for _, path := range paths[:min(len(paths), most)] {
		name, _ := filepath.Rel(h.dirs.PodLogs, path)
		all = append(all, support.File("logs/pods/"+name, path))
	}
	return all
}

func (h *hostLook) hasUnit(unit string) bool {
	for _, dir := range []string{"/etc/systemd/system", "/lib/systemd/system", "/usr/lib/systemd/system"} {
		if _, err := os.Stat(filepath.Join(dir, unit+".service")); err == nil {
			return true
		}
	}
	return false
}

// engineItems are what the engine has: lists only, as the rest of what it tells of
// a container has its variables in it.
func (h *hostLook) engineItems() []support.Item {
	ask := func(name string, what func(context.Context, *runtime.Conn) (any, error)) support.Item {
		return support.JSON("engine/"+name, func(ctx context.Context) (any, error) {
			conn, _, err := h.dial(ctx)
			if err != nil {
				return nil, err
			}
			defer func() { _ = conn.Close() }()
			return what(ctx, conn)
		})
	}
	return []support.Item{
		ask("version.json", func(ctx context.Context, c *runtime.Conn) (any, error) {
			return c.Runtime.Version(ctx, &cri.VersionRequest{})
		}),
		ask("status.json", func(ctx context.Context, c *runtime.Conn) (any, error) {
			return c.Runtime.Status(ctx, &cri.StatusRequest{})
		}),
		ask("sandboxes.json", func(ctx context.Context, c *runtime.Conn) (any, error) {
			return c.Runtime.ListPodSandbox(ctx, &cri.ListPodSandboxRequest{})
		}),
		ask("containers.json", func(ctx context.Context, c *runtime.Conn) (any, error) {
			return c.Runtime.ListContainers(ctx, &cri.ListContainersRequest{})
		}),
		ask("images.json", func(ctx context.Context, c *runtime.Conn) (any, error) {
			return c.Images.ListImages(ctx, &cri.ListImagesRequest{})
		}),
	}
}

// clusterItems are what the API server has to say, to whom the node can ask as.
// Secrets are not asked for.
func (h *hostLook) clusterItems() []support.Item {
	kubeconfig := filepath.Join(h.dirs.Kubernetes, "admin.conf")
	if _, err := os.Stat(kubeconfig); err != nil {
		kubeconfig = filepath.Join(h.dirs.Kubernetes, "kubelet.conf")
	}
	var all []support.Item
	for name, path := range map[string]string{
		"version.json": "/version", "readyz.txt": "/readyz?verbose", "nodes.json": "/api/v1/nodes?limit=500",
		"events.json": "/api/v1/events?limit=1000", "pods-kube-system.json": "/api/v1/namespaces/kube-system/pods?limit=500",
		"pods-node.json":     "/api/v1/pods?limit=500&fieldSelector=" + url.QueryEscape("spec.nodeName="+h.name()),
		"leases.json":        "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases?limit=100",
		"csrs.json":          "/apis/certificates.k8s.io/v1/certificatesigningrequests?limit=200",
		"services.json":      "/api/v1/services?limit=500",
		"kubeadm-config":     "/api/v1/namespaces/kube-system/configmaps/kubeadm-config",
		"kubelet-config":     "/api/v1/namespaces/kube-system/configmaps/kubelet-config",
		"boot-config":        "/api/v1/namespaces/kube-system/configmaps/" + config.BootConfigMap,
		"coredns-configmap":  "/api/v1/namespaces/kube-system/configmaps/coredns",
		"endpointslices.txt": "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices",
	} {
		all = append(all, support.Item{Name: "cluster/" + name, Collect: func(ctx context.Context, to io.Writer) error {
			return fetchAPI(ctx, kubeconfig, path, to)
		}})
	}
	slices.SortFunc(all, func(a, b support.Item) int { return cmp.Compare(a.Name, b.Name) })
	return all
}

// fetchAPI copies what an API server answers.
func fetchAPI(ctx context.Context, kubeconfig, path string, to io.Writer) error {
	access, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return err
	}
	resp, err := get(ctx, access, path)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	_, err = io.Copy(to, resp.Body)
	if resp.StatusCode >= 400 {
		return errors.Join(err, fmt.Errorf("it answers %s", resp.Status))
	}
	return err
}

// hostItems are how the machine is.
func hostItems() []support.Item {
	all := []support.Item{
		support.File("host/os-release", "/etc/os-release"), support.File("host/hosts", "/etc/hosts"), support.File("host/resolv.conf", "/etc/resolv.conf"),
		support.Command("host/df.txt", "df", "-h"), support.Command("host/df-inodes.txt", "df", "-i"),
		support.Command("host/ps.txt", "ps", "-eo", "pid,ppid,stat,etime,rss,comm"),
		support.Command("host/dmesg.txt", "dmesg"), support.File("host/proc/modules", "/proc/modules"),
		{Name: "host/uname.txt", Collect: func(_ context.Context, to io.Writer) error {
			var u unix.Utsname
			if err := unix.Uname(&u); err != nil {
				return err
			}
			_, err := fmt.Fprintf(to, "%s %s %s %s\n", unix.ByteSliceToString(u.Sysname[:]), unix.ByteSliceToString(u.Release[:]),
				unix.ByteSliceToString(u.Version[:]), unix.ByteSliceToString(u.Machine[:]))
			return err
		}},
	}
	for _, name := range []string{"meminfo", "loadavg", "swaps", "mounts", "cgroups", "cmdline", "pressure/cpu", "pressure/memory", "pressure/io", "net/dev", "net/sockstat"} {
		all = append(all, support.File("host/proc/"+name, "/proc/"+name))
	}
	return all
}

// networkItems are how packets find their way.
func networkItems() []support.Item {
	all := []support.Item{
		support.Command("network/addresses.txt", "ip", "-d", "addr"), support.Command("network/routes.txt", "ip", "route", "show", "table", "all"),
		support.Command("network/routes6.txt", "ip", "-6", "route", "show", "table", "all"), support.Command("network/rules.txt", "ip", "rule"),
		support.Command("network/neighbours.txt", "ip", "neigh"), support.Command("network/nftables.txt", "nft", "list", "ruleset"),
		support.Command("network/iptables.txt", "iptables-save"), support.Command("network/sockets.txt", "ss", "-tlnp"),
	}
	for _, name := range []string{
		"net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding", "net/bridge/bridge-nf-call-iptables", "net/ipv4/conf/all/rp_filter",
		"net/netfilter/nf_conntrack_max", "net/netfilter/nf_conntrack_count", "fs/inotify/max_user_instances",
		"fs/inotify/max_user_watches", "fs/file-nr", "vm/overcommit_memory", "kernel/panic", "kernel/pid_max",
	} {
		all = append(all, support.File("host/sysctl/"+name, "/proc/sys/"+name))
	}
	return all
}

// secretDocuments are files of this host that hold secrets and are not packed:
// what is in them is not to be in what is.
func (h *hostLook) secretDocuments() [][]byte {
	paths, _ := filepath.Glob(filepath.Join(h.dirs.Kubernetes, "*.conf")) // the pattern is well formed
	var all [][]byte
	for _, path := range paths {
		if data, err := os.ReadFile(path); err == nil {
			all = append(all, data)
		}
	}
	return all
}
