package phases

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"boot.internal/config"
	"boot.internal/journal"
)

// A testHost is a host made of files, with nothing to find fault with.
type testHost struct {
	*hostView
	t *testing.T
	p preflight
}

func newTestHost(t *testing.T) *testHost {
	t.Helper()
	w := newWorld(t, "")
	w.cfg.Init.LocalAPIEndpoint = config.APIEndpoint{AdvertiseAddress: "192.0.2.10", BindPort: 6443}
	w.cfg.Cluster.CertificatesDir = "/etc/kubernetes/pki"
	w.cfg.Cluster.Etcd.Local.DataDir = "/var/lib/etcd"
	w.cfg.Kubelet.StaticPodPath = "/etc/kubernetes/manifests"
	h := &testHost{t: t, hostView: &hostView{
		root: t.TempDir(), cpus: 2,
		now:      func() time.Time { return time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC) },
		lookPath: func(string) error { return nil },
		resolve:  func(context.Context, string) error { return nil },
		free:     func(string) (uint64, error) { return 100e9, nil },
		writable: func(string) bool { return true },
	}}
	h.modprobe = func(_ context.Context, args ...string) error {
		h.file("sys/module/"+args[0]+"/initstate", "live")
		if args[0] == "br_netfilter" {
			h.bridgeSettings("0")
		}
		return nil
	}
	h.p = preflight{PreflightOptions{
		Config: w.cfg, Dirs: DefaultDirs(), Journal: journal.At(filepath.Join(t.TempDir(), "journal.json")),
		Service: &fakeService{}, Engine: engineCheck{}, Built: time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC), host: h.hostView,
	}}
	for name, text := range map[string]string{
		"proc/meminfo":                           "MemTotal:        4096000 kB\nMemFree: 1 kB\n",
		"proc/swaps":                             "Filename\tType\tSize\tUsed\tPriority\n",
		"proc/filesystems":                       "nodev\tproc\nnodev\toverlay\n\text4\n",
		"proc/self/status":                       "Name:\tboot\nCapEff:\t000001ffffffffff\nSeccomp:\t0\n",
		"proc/self/net/tcp":                      tcpTable(),
		"proc/sys/kernel/osrelease":              "6.1.0-13-amd64\n",
		"proc/sys/net/ipv4/ip_forward":           "1\n",
		"proc/sys/net/netfilter/x":               "",
		"proc/sys/fs/inotify/max_user_watches":   "1000000\n",
		"proc/sys/vm/overcommit_memory":          "1\n",
		"proc/sys/vm/panic_on_oom":               "0\n",
		"proc/sys/kernel/panic":                  "10\n",
		"proc/sys/kernel/panic_on_oops":          "1\n",
		"proc/sys/kernel/keys/root_maxkeys":      "1000000\n",
		"proc/sys/kernel/keys/root_maxbytes":     "25000000\n",
		"proc/sys/fs/inotify/max_user_instances": "8192\n",
		"sys/fs/cgroup/cgroup.controllers":       "cpuset cpu io memory pids\n",
		"lib/modules/6.1.0-13-amd64/modules.builtin": "kernel/net/bridge/bridge.ko\nkernel/drivers/net/veth.ko\nkernel/drivers/net/vxlan/vxlan.ko\n" +
			"kernel/net/netfilter/nf_tables.ko\n",
		"proc/100/comm": "sshd\n",
	} {
		h.file(name, text)
	}
	for _, ns := range []string{"ipc", "mnt", "net", "pid", "uts"} {
		h.file("proc/self/ns/"+ns, "")
	}
	h.bridgeSettings("1")
	return h
}

type engineCheck struct{ err error }

func (e engineCheck) Check(context.Context) error { return e.err }

func (h *testHost) file(name, text string) {
	h.t.Helper()
	path := h.path(name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		h.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		h.t.Fatal(err)
	}
}

func (h *testHost) remove(name string) {
	h.t.Helper()
	if err := os.RemoveAll(h.path(name)); err != nil {
		h.t.Fatal(err)
	}
}

func (h *testHost) bridgeSettings(value string) {
	h.t.Helper()
	h.file("proc/sys/net/bridge/bridge-nf-call-iptables", value)
	h.file("proc/sys/net/bridge/bridge-nf-call-ip6tables", value)
}

func (h *testHost) ignore(ids ...string) {
	h.p.Config.Init.NodeRegistration.IgnorePreflightErrors = ids
}

// begun makes this a host on which boot has been at work.
func (h *testHost) begun() {
	h.t.Helper()
	if err := h.p.Journal.Note(h.t.Context(), journal.Entry{Kind: journal.Node, Name: "node-1"}); err != nil {
		h.t.Fatal(err)
	}
}

// plan returns the changes, what was warned of and what stops.
func (h *testHost) plan() (changes, warnings, stops []string) {
	h.t.Helper()
	ctx := withSay(h.t.Context(), func(e Event) {
		if e.State == Warned {
			warnings = append(warnings, e.Text)
		}
	})
	plan, err := h.p.Plan(ctx)
	for _, c := range plan {
		changes = append(changes, c.Desc)
	}
	if err != nil {
		failed, ok := errors.AsType[*PreflightError](err)
		if !ok {
			h.t.Fatal(err)
		}
		for _, f := range failed.Findings {
			stops = append(stops, f.String())
		}
	}
	return changes, warnings, stops
}

// tcpTable spells sockets that listen as the kernel does: "addr:port inode".
func tcpTable(sockets ...string) string {
	lines := []string{"  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode"}
	for i, s := range sockets {
		addr, inode, _ := strings.Cut(s, " ")
		lines = append(lines, fmt.Sprintf("%4d: %s 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 %s 1 0 100 0 0 10 0", i, addr, inode))
	}
	return strings.Join(lines, "\n")
}

// process makes a process that holds sockets.
func (h *testHost) process(pid int, command string, inodes ...string) {
	h.t.Helper()
	h.file(fmt.Sprintf("proc/%d/comm", pid), command+"\n")
	for i, inode := range inodes {
		dir := h.path(fmt.Sprintf("proc/%d/fd", pid))
		if err := os.MkdirAll(dir, 0o755); err != nil {
			h.t.Fatal(err)
		}
		if err := os.Symlink("socket:["+inode+"]", filepath.Join(dir, fmt.Sprint(i))); err != nil {
			h.t.Fatal(err)
		}
	}
}
