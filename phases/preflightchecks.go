package phases

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
	"k8s.io/utils/ptr"

	"boot.internal/config"
	"boot.internal/hint"
)

// What a control plane needs at the least; kubeadm asks for the same, and of
// workers for nothing.
const (
	minCPUs     = 2
	minMemoryMB = 1700
	minDiskMB   = 1000
	tightDiskMB = 5000
)

func checkUser(_ context.Context, p preflight, _ bool) []Finding {
	if p.host.euid == 0 {
		return nil
	}
	return found("IsPrivilegedUser", "run it with sudo", "boot does not run as root")
}

func checkCPUs(_ context.Context, p preflight, _ bool) []Finding {
	if p.Worker || p.host.cpus >= minCPUs {
		return nil
	}
	return found("NumCPU", "give the machine more", "%d CPU is too few: a control plane needs %d", p.host.cpus, minCPUs)
}

func checkMemory(_ context.Context, p preflight, _ bool) []Finding {
	kb, err := p.host.memoryKB()
	if err != nil {
		return unseen("Mem", err)
	}
	if mb := kb / 1024; !p.Worker && mb < minMemoryMB {
		return found("Mem", "give the machine more", "%d MB of memory are too few: a control plane needs %d", mb, minMemoryMB)
	}
	return nil
}

func (h *hostView) memoryKB() (int, error) {
	text, err := h.read("proc/meminfo")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, "MemTotal:"); ok {
			return strconv.Atoi(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")))
		}
	}
	return 0, errors.New("no MemTotal in /proc/meminfo")
}

// checkSwap only warns, unless the user has asked the kubelet not to put up
// with swap.
func checkSwap(_ context.Context, p preflight, _ bool) []Finding {
	text, err := p.host.read("proc/swaps")
	if errors.Is(err, os.ErrNotExist) {
		return nil // a kernel without swap
	}
	if err != nil {
		return unseen("Swap", err)
	}
	_, devices, _ := strings.Cut(text, "\n")
	if devices == "" {
		return nil
	}
	device := strings.Fields(devices)[0]
	f := Finding{
		ID: "Swap", Text: "swap is on (" + device + "): pods may become slow in ways that limits do not prevent",
		Hint: "turn it off with 'swapoff -a' and in /etc/fstab", Warning: true,
	}
	if ptr.Deref(p.Config.Kubelet.FailSwapOn, false) {
		f.Text, f.Warning = "swap is on ("+device+") and failSwapOn does not allow it", false
	}
	return []Finding{f}
}

func checkDisk(_ context.Context, p preflight, _ bool) []Finding {
	dirs := []string{p.Dirs.Kubelet, filepath.Dir(p.Journal.Path())}
	if local := p.etcd(); local != nil {
		dirs = append(dirs, local.DataDir)
	}
	var all []Finding
	said := map[string]bool{}
	for _, dir := range dirs {
		bytes, err := p.host.free(dir)
		if err != nil {
			return unseen("DiskSpace", err)
		}
		mb := bytes / 1_000_000
		// Directories of one disk have as much room.
		text := fmt.Sprintf("%d MB are free", mb)
		if mb >= tightDiskMB || said[text] {
			continue
		}
		said[text] = true
		all = append(all, Finding{
			ID: "DiskSpace", Text: fmt.Sprintf("only %s on the disk of %s", text, dir),
			Hint: fmt.Sprintf("make room: images and etcd's data need %d MB", tightDiskMB), Warning: mb >= minDiskMB,
		})
	}
	return all
}

// checkClock compares with when this program was built. Certificates made by a
// wrong clock are not valid once it has been set right.
func checkClock(_ context.Context, p preflight, _ bool) []Finding {
	now := p.host.now()
	if p.Built.IsZero() || !now.Before(p.Built) {
		return nil
	}
	return found("SystemTime", "set the clock, with 'timedatectl set-ntp true' or 'date -s'",
		"the clock says %s, which is before boot was built (%s)", now.UTC().Format(time.DateOnly), p.Built.UTC().Format(time.DateOnly))
}

// checkHostname only warns: boot and its components go by addresses.
func checkHostname(ctx context.Context, p preflight, _ bool) []Finding {
	const limit = 500 * time.Millisecond // it is not worth waiting for
	name := p.Config.Init.NodeRegistration.Name
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if err := p.host.resolve(limited, name); err != nil {
		return noted("Hostname", "add it to /etc/hosts or to DNS", "the name of this node, %s, leads nowhere: %v", name, err)
	}
	return nil
}

// checkOOMScore warns of what is adapted to: without the capability, no process
// may become less likely to be killed than its parent.
func checkOOMScore(_ context.Context, p preflight, _ bool) []Finding {
	text, err := p.host.read("proc/self/status")
	if err != nil {
		return unseen("OOMScoreAdj", err)
	}
	_, rest, _ := strings.Cut(text, "CapEff:")
	hex, _, _ := strings.Cut(strings.TrimSpace(rest), "\n")
	caps, err := strconv.ParseUint(hex, 16, 64)
	if err != nil {
		return unseen("OOMScoreAdj", err)
	}
	if caps&(1<<unix.CAP_SYS_RESOURCE) != 0 || p.host.euid != 0 {
		return nil
	}
	return noted("OOMScoreAdj", "run boot with CAP_SYS_RESOURCE if memory may run short",
		"CAP_SYS_RESOURCE is missing: when memory runs out, etcd and the API server are not spared")
}

// checkFirewall looks for the programs that the CNI plugins call. Services and
// masquerading do without: kube-proxy brings its own, and boot needs none.
func checkFirewall(_ context.Context, p preflight, _ bool) []Finding {
	if p.Config.Boot.Network == config.NetworkNone {
		return nil
	}
	for _, program := range []string{"nft", "iptables"} {
		if p.host.lookPath(program) == nil {
			return nil
		}
	}
	return noted("FileExisting-nft", "install the package nftables, or else iptables",
		"neither nft nor iptables is installed: hostPort of pods has no effect")
}

func checkEngine(ctx context.Context, p preflight, _ bool) []Finding {
	if p.Engine == nil {
		return nil
	}
	err := p.Engine.Check(ctx)
	if err == nil {
		return nil
	}
	return []Finding{{ID: "CRI", Text: "there is no container engine to use: " + err.Error(), Hint: hint.Of(err)}}
}
