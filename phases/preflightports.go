package phases

import (
	"context"
	"encoding/hex"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"boot.internal/config"
)

// A port is one that a component will listen on.
type port struct {
	number int
	on     []netip.Addr // empty for all addresses
	of     string       // the program, as the kernel names its process
}

func (p port) id() string { return fmt.Sprintf("Port-%d", p.number) }

// loopProgram stands for the kubelet loop, which is this program.
const loopProgram = "boot"

// ports lists those of the components to be run on this host.
func (p preflight) ports() []port {
	local := netip.AddrFrom4([4]byte{127, 0, 0, 1})
	loop := []port{{number: 10250, of: loopProgram}}
	if balanced(p.Config) {
		loop = append(loop, port{config.LocalAPIPort, []netip.Addr{local, netip.IPv6Loopback()}, loopProgram})
	}
	if p.Worker {
		return loop
	}
	node, _ := netip.ParseAddr(p.Config.Init.LocalAPIEndpoint.AdvertiseAddress) // checked with the configuration
	all := append([]port{
		{number: int(p.Config.Init.LocalAPIEndpoint.BindPort), of: config.ComponentAPIServer},
		{10259, []netip.Addr{local}, config.ComponentScheduler},
		{10257, []netip.Addr{local}, config.ComponentControllerManager},
	}, loop...)
	if p.etcd() != nil {
		all = append(all,
			port{2379, []netip.Addr{local, node}, config.ComponentEtcd},
			port{2380, []netip.Addr{node}, config.ComponentEtcd})
	}
	return all
}

func portIDs(p preflight) []string {
	var ids []string
	for _, port := range p.ports() {
		ids = append(ids, port.id())
	}
	return ids
}

// checkPorts finds who listens where a component is to. A component of an
// earlier run may: it is the one that will be there.
func checkPorts(ctx context.Context, p preflight, ours bool) []Finding {
	taken, err := p.host.listeners()
	if err != nil {
		return unseen(portIDs(p)[0], err)
	}
	var all []Finding
	for _, want := range p.ports() {
		i := slices.IndexFunc(taken, want.collides)
		if i < 0 {
			continue
		}
		owner := p.host.owner(taken[i].inode)
		if ours && p.mayListen(ctx, want, owner) {
			continue
		}
		all = append(all, found(want.id(), "stop it, or give it another port",
			"port %d is in use by %s: it is that of %s", want.number, owner, want.of)...)
	}
	return all
}

// mayListen reports whether the owner is what boot has running there.
func (p preflight) mayListen(ctx context.Context, want port, owner owner) bool {
	if want.of != loopProgram {
		return owner.command == truncated(want.of)
	}
	running, err := p.Service.Running(ctx)
	if err == nil && running {
		return true
	}
	// Of another version or with other arguments, it will be replaced.
	self, err := os.Executable()
	return err == nil && owner.command == truncated(filepath.Base(self))
}

// truncated is a program's name as the kernel keeps it: 15 bytes.
func truncated(name string) string { return name[:min(len(name), 15)] }

// A listener is a TCP socket that listens.
type listener struct {
	addr  netip.AddrPort
	inode string
}

// collides reports whether the listener is in the way.
func (p port) collides(l listener) bool {
	if int(l.addr.Port()) != p.number {
		return false
	}
	return len(p.on) == 0 || l.addr.Addr().IsUnspecified() || slices.Contains(p.on, l.addr.Addr())
}

// listeners reads the kernel's tables of TCP sockets.
func (h *hostView) listeners() ([]listener, error) {
	const listening = "0A"
	var all []listener
	for _, table := range []string{"proc/self/net/tcp", "proc/self/net/tcp6"} {
		text, err := h.read(table)
		if os.IsNotExist(err) {
			continue // a kernel without IPv6
		}
		if err != nil {
			return nil, err
		}
		for line := range strings.Lines(text) {
			f := strings.Fields(line)
			if len(f) < 10 || f[3] != listening {
				continue
			}
			addr, err := parseSocketAddr(f[1])
			if err != nil {
				return nil, fmt.Errorf("read %s: %w", table, err)
			}
			all = append(all, listener{addr, f[9]})
		}
	}
	return all, nil
}

// parseSocketAddr reads an address as the kernel prints it: each 32 bits of the
// IP as a number of the host's byte order, which is little on all that boot is
// built for.
func parseSocketAddr(s string) (netip.AddrPort, error) {
	host, port, _ := strings.Cut(s, ":")
	raw, err := hex.DecodeString(host)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("socket address %q: %w", s, err)
	}
	for word := range slices.Chunk(raw, 4) {
		slices.Reverse(word)
	}
	ip, ok := netip.AddrFromSlice(raw)
	number, err := strconv.ParseUint(port, 16, 16)
	if !ok || err != nil {
		return netip.AddrPort{}, fmt.Errorf("socket address %q", s)
	}
	return netip.AddrPortFrom(ip.Unmap(), uint16(number)), nil
}

// An owner is the process that holds a socket.
type owner struct {
	pid     string
	command string
}

func (o owner) String() string {
	if o.pid == "" {
		return "a process that this one cannot see"
	}
	return fmt.Sprintf("%s (pid %s)", o.command, o.pid)
}

// owner looks for the process among all; this takes a while, so it is only done
// for ports that are taken.
func (h *hostView) owner(inode string) owner {
	fds, err := filepath.Glob(h.path("proc/[0-9]*/fd/*"))
	if err != nil {
		return owner{}
	}
	for _, fd := range fds {
		if to, err := os.Readlink(fd); err != nil || to != "socket:["+inode+"]" {
			continue
		}
		pid := filepath.Base(filepath.Dir(filepath.Dir(fd)))
		command, err := h.read("proc/" + pid + "/comm")
		if err != nil {
			continue // it has just ended
		}
		return owner{pid, command}
	}
	return owner{}
}

// checkKubelet finds the node agent of somebody else: two on one host end each
// other's pods.
func checkKubelet(_ context.Context, p preflight, _ bool) []Finding {
	comms, err := filepath.Glob(p.host.path("proc/[0-9]*/comm"))
	if err != nil {
		return unseen("Kubelet", err)
	}
	// Nodes made of namespaces may be on this host, too, with kubelets of theirs.
	here, _ := os.Readlink(p.host.path("proc/self/ns/mnt"))
	for _, path := range comms {
		data, err := os.ReadFile(path)
		if err != nil || strings.TrimSpace(string(data)) != "kubelet" {
			continue
		}
		if there, _ := os.Readlink(filepath.Join(filepath.Dir(path), "ns/mnt")); there != here {
			continue
		}
		return found("Kubelet", "stop it: 'systemctl disable --now kubelet'",
			"another kubelet runs on this host (pid %s)", filepath.Base(filepath.Dir(path)))
	}
	return nil
}
