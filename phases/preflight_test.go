package phases

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"boot.internal/config"
	"boot.internal/hint"
	"boot.internal/journal"
)

// A preflightCase is a host and what is to be found on it: beginnings of what is
// said.
type preflightCase struct {
	given    func(*testHost)
	warnings []string
	stops    []string
}

func (tc preflightCase) run(t *testing.T) {
	h := newTestHost(t)
	tc.given(h)
	_, warnings, stops := h.plan()
	wantBeginnings(t, "warned", warnings, tc.warnings)
	wantBeginnings(t, "stopped by", stops, tc.stops)
}

func TestPreflightOfTheMachine(t *testing.T) {
	for name, tc := range map[string]preflightCase{
		"nothing": {given: func(*testHost) {}},
		"no root": {
			given: func(h *testHost) { h.euid = 1000 },
			stops: []string{"[IsPrivilegedUser] boot does not run as root: run it with sudo"},
		},
		"one CPU": {
			given: func(h *testHost) { h.cpus = 1 },
			stops: []string{"[NumCPU] 1 CPU is too few: a control plane needs 2: "},
		},
		"little memory": {
			given: func(h *testHost) { h.file("proc/meminfo", "MemTotal: 1024000 kB\n") },
			stops: []string{"[Mem] 1000 MB of memory are too few: a control plane needs 1700: "},
		},
		"memory unknown": {
			given:    func(h *testHost) { h.remove("proc/meminfo") },
			warnings: []string{"[Mem] this could not be checked: "},
		},
		"swap": {
			given:    func(h *testHost) { h.file("proc/swaps", "Filename Type\n/dev/sda2 partition 1 0 -2\n") },
			warnings: []string{"[Swap] swap is on (/dev/sda2): "},
		},
		"swap not allowed": {
			given: func(h *testHost) {
				h.file("proc/swaps", "Filename Type\n/dev/sda2 partition 1 0 -2\n")
				h.p.Config.Kubelet.FailSwapOn = new(true)
			},
			stops: []string{"[Swap] swap is on (/dev/sda2) and failSwapOn does not allow it: "},
		},
		"no swap in the kernel": {given: func(h *testHost) { h.remove("proc/swaps") }},
		"disk tight": {
			given:    func(h *testHost) { h.free = func(string) (uint64, error) { return 3e9, nil } },
			warnings: []string{"[DiskSpace] only 3000 MB are free on the disk of /var/lib/kubelet: make room"},
		},
		"disk full": {
			given: func(h *testHost) { h.free = func(string) (uint64, error) { return 3e8, nil } },
			stops: []string{"[DiskSpace] only 300 MB are free on the disk of /var/lib/kubelet: make room"},
		},
		"clock": {
			given: func(h *testHost) { h.now = func() time.Time { return time.Unix(0, 0) } },
			stops: []string{"[SystemTime] the clock says 1970-01-01, which is before boot was built (2026-11-01): set the clock"},
		},
		"no name": {
			given: func(h *testHost) {
				h.resolve = func(context.Context, string) error { return errors.New("no such host") }
			},
			warnings: []string{"[Hostname] the name of this node, node-1, leads nowhere: no such host: add it to /etc/hosts"},
		},
		"no CAP_SYS_RESOURCE": {
			given:    func(h *testHost) { h.file("proc/self/status", "CapEff:\t000001fffeffffff\n") },
			warnings: []string{"[OOMScoreAdj] CAP_SYS_RESOURCE is missing: "},
		},
		"no firewall program": {
			given:    func(h *testHost) { h.lookPath = func(string) error { return os.ErrNotExist } },
			warnings: []string{"[FileExisting-nft] neither nft nor iptables is installed: hostPort of pods has no effect: install"},
		},
		"no firewall program, no network of boot's": {
			given: func(h *testHost) {
				h.lookPath = func(string) error { return os.ErrNotExist }
				h.p.Config.Boot.Network = config.NetworkNone
			},
		},
		"no engine": {
			given: func(h *testHost) { h.p.Engine = engineCheck{hint.With(errors.New("none"), "get one")} },
			stops: []string{"[CRI] there is no container engine to use: none: get one"},
		},
	} {
		t.Run(name, tc.run)
	}
}

func TestPreflightOfTheKernel(t *testing.T) {
	for name, tc := range map[string]preflightCase{
		"old kernel": {
			given: func(h *testHost) { h.file("proc/sys/kernel/osrelease", "3.10.0-1160.el7\n") },
			stops: []string{"[SystemVerification] kernel 3.10.0-1160.el7 is older than 4.19: "},
		},
		"no namespaces": {
			given: func(h *testHost) { h.remove("proc/self/ns/pid") },
			stops: []string{"[SystemVerification] the kernel has no pid namespaces: "},
		},
		"kernel without everything": {
			given: func(h *testHost) {
				h.remove("lib/modules")
				h.remove("proc/sys/net/netfilter")
				h.remove("proc/sys/net/bridge")
				h.file("proc/filesystems", "ext4\n")
				h.file("boot/config-6.1.0-13-amd64", "# CONFIG_VETH is not set\nCONFIG_BRIDGE=m\n")
				h.p.Config.KubeProxy.Mode = "ipvs"
			},
			warnings: []string{
				"[SystemVerification] the kernel has no overlayfs: ",
				"[SystemVerification] the kernel has no vxlan: pods reach those of nodes on the same link alone: ",
				"[SystemVerification] the kernel has no ip_vs: kube-proxy's mode ipvs does not work: ",
				"[SystemVerification] the kernel has no dummy: kube-proxy's mode ipvs does not work: ",
				"[SystemVerification] br_netfilter is not there: ",
			},
			stops: []string{
				"[SystemVerification] the kernel has neither nf_tables nor ip_tables: ",
				"[SystemVerification] the kernel has no nf_conntrack: ",
				"[SystemVerification] the kernel has no bridge: ",
				"[SystemVerification] the kernel has no veth: ",
			},
		},
		"kernel that does not tell": {given: func(h *testHost) { h.remove("lib/modules") }},
		"cgroup v2 without controllers": {
			given: func(h *testHost) { h.file("sys/fs/cgroup/cgroup.controllers", "cpu io\n") },
			stops: []string{"[SystemVerification] cgroup controllers are missing: memory, pids: "},
		},
		"cgroup v1": {
			given: func(h *testHost) {
				h.remove("sys/fs/cgroup")
				h.file("proc/self/mounts", v1Mounts("cpu,cpuacct", "cpuset", "memory", "devices", "freezer", "pids"))
			},
		},
		"hybrid without freezer": {
			given: func(h *testHost) {
				h.remove("sys/fs/cgroup")
				h.file("sys/fs/cgroup/unified/cgroup.controllers", "hugetlb\n")
				h.file("proc/self/mounts", v1Mounts("cpu", "cpuacct", "cpuset", "memory", "devices", "pids"))
			},
			stops: []string{"[SystemVerification] cgroup controllers are missing: freezer: "},
		},
		"other kubelet": {
			given: func(h *testHost) { h.process(4711, "kubelet") },
			stops: []string{"[Kubelet] another kubelet runs on this host (pid 4711): stop it"},
		},
		"setting out of reach": {
			given: func(h *testHost) {
				h.file("proc/sys/net/ipv4/ip_forward", "0\n")
				h.file("proc/sys/fs/inotify/max_user_instances", "128\n")
				h.writable = func(string) bool { return false }
			},
			warnings: []string{"[FileContent--proc-sys-fs-inotify-max_user_instances] fs.inotify.max_user_instances should be 8192: it is 128 and cannot be written: "},
			stops:    []string{"[FileContent--proc-sys-net-ipv4-ip_forward] net.ipv4.ip_forward should be 1: it is 0 and cannot be written: run 'sysctl -w net.ipv4.ip_forward=1'"},
		},
	} {
		t.Run(name, tc.run)
	}
}

func wantBeginnings(t *testing.T, what string, got, want []string) {
	t.Helper()
	ok := len(got) == len(want)
	for i := range min(len(got), len(want)) {
		ok = ok && strings.HasPrefix(got[i], want[i])
	}
	if !ok {
		t.Errorf("%s:\n%s\nwant:\n%s", what, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func v1Mounts(controllers ...string) string {
	lines := []string{"cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0"}
	for _, c := range controllers {
		lines = append(lines, "cgroup /sys/fs/cgroup/"+c+" cgroup rw,relatime,"+c+" 0 0")
	}
	return strings.Join(lines, "\n")
}

func TestPreflightLeftovers(t *testing.T) {
	leave := func(h *testHost) {
		h.file("etc/kubernetes/manifests/etcd.yaml", "")
		h.file("etc/kubernetes/manifests/kube-apiserver.yaml", "")
		h.file("etc/kubernetes/manifests/mine.yaml", "")
		h.file("var/lib/etcd/member/wal/0", "")
	}
	h := newTestHost(t)
	leave(h)
	_, _, stops := h.plan()
	wantBeginnings(t, "stopped by", stops, []string{
		"[FileAvailable--etc-kubernetes-manifests-kube-apiserver.yaml] /etc/kubernetes/manifests/kube-apiserver.yaml is there",
		"[FileAvailable--etc-kubernetes-manifests-etcd.yaml] /etc/kubernetes/manifests/etcd.yaml is there",
		"[DirAvailable--var-lib-etcd] /var/lib/etcd is not empty, and boot did not fill it: ",
	})

	ours := newTestHost(t)
	leave(ours)
	ours.begun()
	if _, _, stops := ours.plan(); len(stops) > 0 {
		t.Errorf("our own are in the way: %s", stops)
	}
}

func TestPreflightOtherAuthority(t *testing.T) {
	const conf = "apiVersion: v1\nkind: Config\nclusters: [{name: k, cluster: {server: 'https://h:6443', certificate-authority-data: %s}}]\n"
	w := newWorld(t, "")
	w.makeCerts()
	one, two := read(t, w.tree().CA.Cert), read(t, w.tree().EtcdCA.Cert)
	h := newTestHost(t)
	h.begun()
	h.file("etc/kubernetes/admin.conf", fmt.Sprintf(conf, base64.StdEncoding.EncodeToString([]byte(one))))
	if _, _, stops := h.plan(); len(stops) > 0 {
		t.Errorf("no CA: %s", stops)
	}
	for _, ca := range []string{one, two + one} { // the second as it is while one replaces the other
		h.file("etc/kubernetes/pki/ca.crt", ca)
		if _, _, stops := h.plan(); len(stops) > 0 {
			t.Errorf("same CA: %s", stops)
		}
	}
	h.file("etc/kubernetes/pki/ca.crt", two)
	_, _, stops := h.plan()
	if len(stops) != 1 || !strings.Contains(stops[0], "admin.conf is of a cluster with another CA than /etc/kubernetes/pki/ca.crt: put the right") {
		t.Errorf("other CA: %s", stops)
	}
}

func TestPreflightIgnores(t *testing.T) {
	for name, tc := range map[string]struct {
		ignore   []string
		warnings []string
		stops    []string
	}{
		"some": {
			ignore:   []string{"numcpu", "DirAvailable--var-lib-etcd"},
			warnings: []string{"[NumCPU] 1 CPU", "[DirAvailable--var-lib-etcd] /var/lib/etcd is not empty"},
			stops:    []string{"[IsPrivilegedUser] "},
		},
		"all": {
			ignore:   []string{"all"},
			warnings: []string{"[IsPrivilegedUser] ", "[NumCPU] ", "[DirAvailable--var-lib-etcd] "},
		},
		"unknown": {
			ignore:   []string{"NumCPUs", "all"},
			warnings: []string{"[NumCPUs] there is no check of this name to ignore: the checks are IsPrivilegedUser, ", "[IsPrivilegedUser] ", "[NumCPU] ", "[DirAvailable--var-lib-etcd] "},
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := newTestHost(t)
			h.euid, h.cpus = 1000, 1
			h.file("var/lib/etcd/member/x", "")
			h.ignore(tc.ignore...)
			_, warnings, stops := h.plan()
			wantBeginnings(t, "warned", warnings, tc.warnings)
			wantBeginnings(t, "stopped by", stops, tc.stops)
		})
	}
}

func TestPreflightErrorSaysHowToGoOn(t *testing.T) {
	h := newTestHost(t)
	h.euid, h.cpus = 1000, 1
	_, err := h.p.Plan(t.Context())
	failed, ok := errors.AsType[*PreflightError](err)
	if !ok {
		t.Fatal(err)
	}
	if got := failed.Hint(); got != "to go on nevertheless: --ignore-preflight-errors=IsPrivilegedUser,NumCPU" {
		t.Error(got)
	}
	want := "this host is not ready:\n  [IsPrivilegedUser] boot does not run as root: run it with sudo\n  [NumCPU] "
	if !strings.HasPrefix(err.Error(), want) {
		t.Error(err)
	}
	if _, err := os.Stat(h.p.Journal.Path()); err == nil {
		t.Error("planning wrote the journal")
	}
}

func TestPreflightReadiesTheHost(t *testing.T) {
	h := newTestHost(t)
	h.remove("proc/sys/net/bridge")
	h.file("lib/modules/6.1.0-13-amd64/modules.dep", "kernel/net/bridge/br_netfilter.ko.xz: kernel/net/bridge/bridge.ko.xz\n")
	h.file("proc/sys/net/ipv4/ip_forward", "0\n")
	h.file("proc/sys/fs/inotify/max_user_instances", "128\n")
	h.file("proc/sys/net/netfilter/nf_conntrack_max", "65536\n")
	h.file("etc/kubernetes/pki/ca.crt", "mine\n")
	r := Runner{}
	var said []string
	r.Report = func(e Event) {
		if e.State == Changing || e.State == Warned {
			said = append(said, e.Text)
		}
	}
	if err := r.Run(t.Context(), []Step{{Name: "preflight", Phase: h.p}}); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"note in " + h.p.Journal.Path() + " what is on this host",
		"load kernel module br_netfilter",
		"set net.ipv4.ip_forward to 1",
		"set net.bridge.bridge-nf-call-iptables to 1",
		"set fs.inotify.max_user_instances to 8192",
	}
	if diff := cmp.Diff(want, said); diff != "" {
		t.Error(diff)
	}
	if got, err := h.read("proc/sys/net/ipv4/ip_forward"); err != nil || got != "1" {
		t.Errorf("ip_forward %q, %v", got, err)
	}
	entries, err := h.p.Journal.Entries()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []journal.Entry{
		{Kind: journal.Node, Name: "node-1"},
		{Kind: journal.Found, Name: "/etc/kubernetes"},
		{Kind: journal.Found, Name: "/etc/kubernetes/pki/ca.crt"},
		{Kind: journal.Module, Name: "br_netfilter"},
		{Kind: journal.Sysctl, Name: "net.ipv4.ip_forward", Was: "0"},
		{Kind: journal.Sysctl, Name: "net.bridge.bridge-nf-call-iptables", Was: "0"},
		{Kind: journal.Sysctl, Name: "fs.inotify.max_user_instances", Was: "128"},
		{Kind: journal.Sysctl, Name: "net.netfilter.nf_conntrack_max", Was: "65536"},
	} {
		if !slices.Contains(entries, want) {
			t.Errorf("not noted: %v in %v", want, entries)
		}
	}
	said = nil
	if err := r.Run(t.Context(), []Step{{Name: "preflight", Phase: h.p}}); err != nil || len(said) > 0 {
		t.Errorf("again: %q, %v", said, err)
	}
}

func TestPreflightIPv6(t *testing.T) {
	h := newTestHost(t)
	h.p.Config.Cluster.Networking.PodSubnet = "10.244.0.0/16,fd00:10:244::/56"
	h.file("proc/sys/net/ipv6/conf/all/forwarding", "0\n")
	changes, _, _ := h.plan()
	if !slices.Contains(changes, "set net.ipv6.conf.all.forwarding to 1") {
		t.Errorf("changes %q", changes)
	}
}

// This machine, whatever it is like: the checks must cope with it.
func TestPreflightOfThisHost(t *testing.T) {
	h := newTestHost(t)
	h.p.host = thisHost()
	for _, f := range h.p.look(t.Context(), false) {
		if strings.Contains(f.Text, "could not be checked") {
			t.Error(f)
		}
	}
}
