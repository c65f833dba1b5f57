package phases

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"boot.internal/config"
)

// oldestKernel is the oldest that Kubernetes still tests with.
const (
	oldestKernelMajor = 4
	oldestKernelMinor = 19
)

// A feature is something the kernel must be able to do.
type feature struct {
	module string // its name as a module
	option string // that builds it in
	sign   string // a file that is there once it works
}

func overlayfs() feature    { return feature{module: "overlay", option: "OVERLAY_FS"} }
func brNetfilter() feature  { return feature{"br_netfilter", "BRIDGE_NETFILTER", "proc/sys/net/bridge"} }
func nfTables() feature     { return feature{module: "nf_tables", option: "NF_TABLES"} }
func ipTables() feature     { return feature{module: "ip_tables", option: "IP_NF_IPTABLES"} }
func conntrack() feature    { return feature{"nf_conntrack", "NF_CONNTRACK", "proc/sys/net/netfilter"} }
func bridgeDevice() feature { return feature{module: "bridge", option: "BRIDGE"} }
func vxlanDevice() feature  { return feature{module: "vxlan", option: "VXLAN"} }
func vethDevice() feature   { return feature{module: "veth", option: "VETH"} }

// support is how far the kernel has a feature.
type support string

// What is unknown is given the benefit of the doubt: kernels that hide their
// configuration are usually complete.
const (
	supported support = "supported"
	loadable  support = "loadable" // as a module, which is not loaded
	absent    support = "absent"
	unknown   support = "unknown"
)

// supports finds out about a feature, from the surest sign to the weakest.
func (h *hostView) supports(f feature) support {
	if f.sign != "" && h.exists(f.sign) || h.exists("sys/module/"+f.module) || h.mounts(f.module) {
		return supported
	}
	release, err := h.read("proc/sys/kernel/osrelease")
	if err != nil {
		return unknown
	}
	modules := filepath.Join("lib/modules", release)
	switch {
	case h.lists(modules+"/modules.builtin", f.module):
		return supported
	case h.lists(modules+"/modules.dep", f.module):
		return loadable
	}
	return h.configured(f, release)
}

// mounts reports whether the name is that of a file system the kernel has.
func (h *hostView) mounts(name string) bool {
	text, err := h.read("proc/filesystems")
	return err == nil && slices.Contains(strings.Fields(text), name)
}

// lists reports whether a list of kbuild's names the module.
func (h *hostView) lists(list, module string) bool {
	text, err := h.read(list)
	if err != nil {
		return false
	}
	for line := range strings.Lines(text) {
		file, _, _ := strings.Cut(line, ":")
		name, _, _ := strings.Cut(filepath.Base(strings.TrimSpace(file)), ".ko")
		if strings.ReplaceAll(name, "-", "_") == module {
			return true
		}
	}
	return false
}

// configured reads what the kernel was built with.
func (h *hostView) configured(f feature, release string) support {
	text, err := h.kernelConfig(release)
	if err != nil {
		return unknown
	}
	for line := range strings.Lines(text) {
		switch strings.TrimSpace(line) {
		case "CONFIG_" + f.option + "=y":
			return supported
		case "CONFIG_" + f.option + "=m":
			// Built as a module, which this host does not have installed.
			return absent
		}
	}
	return absent
}

func (h *hostView) kernelConfig(release string) (string, error) {
	if text, err := h.read("boot/config-" + release); err == nil {
		return text, nil
	}
	data, err := os.ReadFile(h.path("proc/config.gz"))
	if err != nil {
		return "", err
	}
	z, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return "", err
	}
	text, err := io.ReadAll(z)
	return string(text), err
}

func checkKernel(_ context.Context, p preflight, _ bool) []Finding {
	all := checkRelease(p.host)
	for _, ns := range []string{"ipc", "mnt", "net", "pid", "uts"} {
		if !p.host.exists("proc/self/ns/" + ns) {
			all = append(all, found("SystemVerification", "use a kernel with namespaces", "the kernel has no %s namespaces", ns)...)
		}
	}
	if p.host.supports(overlayfs()) == absent {
		all = append(all, noted("SystemVerification", "use a kernel with overlayfs, or expect containers to start slowly",
			"the kernel has no overlayfs: images are copied for each container")...)
	}
	if p.host.supports(nfTables()) == absent && p.host.supports(ipTables()) == absent {
		all = append(all, found("SystemVerification", "use a kernel with one of them", "the kernel has neither nf_tables nor ip_tables")...)
	}
	required := []feature{conntrack()}
	if p.Config.Boot.Network != config.NetworkNone {
		required = append(required, bridgeDevice(), vethDevice())
	}
	for _, f := range required {
		if p.host.supports(f) == absent {
			all = append(all, found("SystemVerification", "use a kernel with CONFIG_"+f.option, "the kernel has no %s", f.module)...)
		}
	}
	if b := p.Config.Boot; b.Network == config.NetworkFlannel && b.Flannel.Backend == config.FlannelVXLAN && p.host.supports(vxlanDevice()) == absent {
		all = append(all, noted("SystemVerification", "use a kernel with CONFIG_VXLAN, or have all nodes on one link",
			"the kernel has no vxlan: pods reach those of nodes on the same link alone")...)
	}
	return append(all, checkProxyMode(p)...)
}

func checkRelease(h *hostView) []Finding {
	release, err := h.read("proc/sys/kernel/osrelease")
	if err != nil {
		return unseen("SystemVerification", err)
	}
	var major, minor int
	if _, err := fmt.Sscanf(release, "%d.%d", &major, &minor); err != nil {
		return unseen("SystemVerification", fmt.Errorf("kernel version %q: %w", release, err))
	}
	if major > oldestKernelMajor || major == oldestKernelMajor && minor >= oldestKernelMinor {
		return nil
	}
	return found("SystemVerification", "use a newer one",
		"kernel %s is older than %d.%d", release, oldestKernelMajor, oldestKernelMinor)
}

// checkProxyMode warns of what only one mode of kube-proxy needs.
func checkProxyMode(p preflight) []Finding {
	if p.Config.KubeProxy.Mode != "ipvs" {
		return nil
	}
	var all []Finding
	for _, f := range []feature{{module: "ip_vs", option: "IP_VS"}, {module: "dummy", option: "DUMMY"}} {
		if p.host.supports(f) == absent {
			all = append(all, noted("SystemVerification", "use mode nftables or iptables",
				"the kernel has no %s: kube-proxy's mode ipvs does not work", f.module)...)
		}
	}
	return all
}

// checkCgroups looks for the controllers that containers are limited with. On a
// hybrid host they are on v1 hierarchies, beside a v2 one without any.
func checkCgroups(_ context.Context, p preflight, _ bool) []Finding {
	have, v2, err := p.host.controllers()
	if err != nil {
		return unseen("SystemVerification", err)
	}
	want := []string{"cpu", "memory", "pids"}
	if !v2 {
		want = append(want, "cpuacct", "cpuset", "devices", "freezer")
	}
	var missing []string
	for _, c := range want {
		if !slices.Contains(have, c) {
			missing = append(missing, c)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return found("SystemVerification", "mount them below /sys/fs/cgroup, or enable them on the kernel's command line: cgroup_enable="+missing[0],
		"cgroup controllers are missing: %s", strings.Join(missing, ", "))
}

// controllers lists the usable ones, and says whether they are those of v2.
func (h *hostView) controllers() (have []string, v2 bool, err error) {
	if text, err := h.read("sys/fs/cgroup/cgroup.controllers"); err == nil {
		return strings.Fields(text), true, nil
	}
	text, err := h.read("proc/self/mounts")
	if err != nil {
		return nil, false, err
	}
	for line := range strings.Lines(text) {
		if f := strings.Fields(line); len(f) >= 4 && f[2] == "cgroup" {
			have = append(have, strings.Split(f[3], ",")...)
		}
	}
	return have, false, nil
}

// inotify and other settings have their values in files below proc/sys, with
// slashes for dots.
func sysctlFile(name string) string { return "proc/sys/" + strings.ReplaceAll(name, ".", "/") }

func (h *hostView) sysctlInt(name string) (int, error) {
	text, err := h.read(sysctlFile(name))
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(text)
}
