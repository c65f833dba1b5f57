package phases

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"boot.internal/config"
	"boot.internal/journal"
)

// A setting is a kernel setting that boot wants.
type setting struct {
	name     string // "net.ipv4.ip_forward"
	want     int
	atLeast  bool // more is fine, too
	optional bool // without it, only comfort is lost
}

func (s setting) id() string { return pathID("FileContent", "/"+sysctlFile(s.name)) }

func (s setting) met(have int) bool { return have == s.want || s.atLeast && have > s.want }

// Ready returns the phase that loads the kernel modules and makes the kernel
// settings that pods need, and notes in the journal what was before. Preflight
// has it in it; on its own it is for the time after a restart of the host, which
// has forgotten them. The error is a *ProtectedError where settings must not be
// made.
func Ready(o ReadyOptions) Phase { return readiness{thisHost(), o}.phase() }

func (r readiness) phase() Phase {
	return PlanFunc(func(ctx context.Context) ([]Change, error) {
		if forbidden := r.protected(); len(forbidden) > 0 {
			return nil, &ProtectedError{forbidden}
		}
		changes, findings, err := r.plan()
		for _, f := range findings {
			warn(ctx, f.String())
		}
		return changes, err
	})
}

// ReadyOptions say how a host is made ready.
type ReadyOptions struct {
	Journal *journal.Journal
	IPv6    bool // pods have such addresses
	// ProtectKernelDefaults keeps the settings that every kubelet makes as they are.
	ProtectKernelDefaults bool
}

// readiness is what boot makes of the host itself.
type readiness struct {
	host *hostView
	ReadyOptions
}

func (p preflight) readiness() readiness {
	return readiness{p.host, ReadyOptions{p.Journal, usesIPv6(p.Config), p.Config.Kubelet.ProtectKernelDefaults}}
}

// settings lists what pods need: a host that forwards, also what crosses a
// bridge through the firewall, where Services are; and room for those who watch
// files, which the kernel's defaults have too little of for a node.
func (r readiness) settings() []setting {
	all := []setting{
		{name: "net.ipv4.ip_forward", want: 1},
		{name: "net.bridge.bridge-nf-call-iptables", want: 1},
		{name: "fs.inotify.max_user_instances", want: 8192, atLeast: true, optional: true},
		{name: "fs.inotify.max_user_watches", want: 524288, atLeast: true, optional: true},
	}
	if !r.ProtectKernelDefaults {
		all = append(all, kernelDefaults()...)
	}
	if r.IPv6 {
		all = append(all,
			setting{name: "net.ipv6.conf.all.forwarding", want: 1},
			setting{name: "net.bridge.bridge-nf-call-ip6tables", want: 1})
	}
	return all
}

func usesIPv6(cfg *config.Init) bool {
	subnets, err := config.ParseSubnets(cfg.Cluster.Networking.PodSubnet)
	if err != nil {
		return false // refused with the configuration
	}
	for _, s := range subnets {
		if s.Addr().Is6() {
			return true
		}
	}
	return false
}

// touched are settings that kube-proxy and CNI plugins change in the host's
// network. Boot only notes what they were.
func touched() []string {
	return []string{
		"net.ipv4.conf.all.route_localnet",
		"net.netfilter.nf_conntrack_max",
		"net.netfilter.nf_conntrack_tcp_timeout_close_wait",
		"net.netfilter.nf_conntrack_tcp_timeout_established",
	}
}

func (r readiness) ids() []string {
	var ids []string
	for _, s := range slices.Concat(r.settings(), kernelDefaults()) {
		ids = append(ids, s.id())
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

// plan lists what is to be done, and finds what would be but cannot.
func (r readiness) plan() ([]Change, []Finding, error) {
	changes, all := r.loadModules()
	all = append(all, r.protected()...)
	bridge := slices.ContainsFunc(changes, func(c Change) bool { return c.Desc == loading(brNetfilter()) })
	for _, s := range r.settings() {
		have, err := r.host.sysctlInt(s.name)
		missing := os.IsNotExist(err)
		switch {
		case err == nil && s.met(have):
		case missing && strings.HasPrefix(s.name, "net.bridge.") && bridge:
			// The module brings the setting along, with the right value or not.
			changes = append(changes, r.set(s))
		case missing && strings.HasPrefix(s.name, "net.bridge."):
			// loadModules has found it.
		case missing:
			all = append(all, s.cannot("the kernel does not have it"))
		case err != nil:
			return nil, nil, fmt.Errorf("read %s: %w", s.name, err)
		case !r.host.writable(r.host.path(sysctlFile(s.name))):
			all = append(all, s.cannot(fmt.Sprintf("it is %d and cannot be written", have)))
		default:
			changes = append(changes, r.set(s))
		}
	}
	return changes, all, nil
}

func (s setting) cannot(why string) Finding {
	return Finding{
		ID: s.id(), Text: fmt.Sprintf("%s should be %d: %s", s.name, s.want, why),
		Hint:    s.byHand() + " where that is possible",
		Warning: s.optional,
	}
}

// loadModules lists the modules to be loaded.
func (r readiness) loadModules() ([]Change, []Finding) {
	var changes []Change
	for _, f := range []feature{overlayfs(), brNetfilter()} {
		if r.host.supports(f) == loadable {
			changes = append(changes, r.load(f))
		}
	}
	if s := r.host.supports(brNetfilter()); s == absent || s == unknown {
		return changes, noted("SystemVerification", "load it, or use a kernel with CONFIG_"+brNetfilter().option,
			"br_netfilter is not there: Services may not work between pods of this node")
	}
	return changes, nil
}

func loading(f feature) string { return "load kernel module " + f.module }

func (r readiness) load(f feature) Change {
	return Change{loading(f), func(ctx context.Context) error {
		if err := r.Journal.Note(ctx, journal.Entry{Kind: journal.Module, Name: f.module}); err != nil {
			return err
		}
		return r.host.modprobe(ctx, f.module)
	}}
}

func (r readiness) set(s setting) Change {
	return Change{fmt.Sprintf("set %s to %d", s.name, s.want), func(ctx context.Context) error {
		was, err := r.host.read(sysctlFile(s.name))
		if err != nil {
			return err
		}
		if err := r.Journal.Note(ctx, journal.Entry{Kind: journal.Sysctl, Name: s.name, Was: was}); err != nil {
			return err
		}
		return writeSysctl(r.host.path(sysctlFile(s.name)), strconv.Itoa(s.want))
	}}
}

// writeSysctl writes in place: the kernel knows no other way.
func writeSysctl(path, value string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(value + "\n")
	if closed := f.Close(); err == nil {
		err = closed
	}
	return err
}

// begin notes what is on the host before boot comes, so that a reset knows what
// not to take away. It is the first change of a first run.
func (p preflight) begin() Change {
	return Change{"note in " + p.Journal.Path() + " what is on this host", func(ctx context.Context) error {
		entries, err := p.present()
		if err != nil {
			return err
		}
		return p.Journal.Note(ctx, entries...)
	}}
}

// present lists what a reset would otherwise remove or leave changed.
func (p preflight) present() ([]journal.Entry, error) {
	dirs := []string{p.Dirs.Kubernetes, p.Dirs.Kubelet, "/etc/cni", "/etc/cni/net.d", "/var/log/pods", "/var/log/containers", "/var/lib/cni", "/lib/modules"}
	if local := p.etcd(); local != nil {
		dirs = append(dirs, local.DataDir)
	}
	entries := []journal.Entry{{Kind: journal.Node, Name: p.Config.Init.NodeRegistration.Name}}
	for _, dir := range dirs {
		if p.host.exists(dir) {
			entries = append(entries, journal.Entry{Kind: journal.Found, Name: dir})
		}
	}
	files, err := p.userFiles()
	if err != nil {
		return nil, err
	}
	entries = append(entries, files...)
	for _, name := range touched() {
		if was, err := p.host.read(sysctlFile(name)); err == nil {
			entries = append(entries, journal.Entry{Kind: journal.Sysctl, Name: name, Was: was})
		}
	}
	return entries, nil
}

// userFiles lists everything below the directories of certificates and of
// kubeconfigs: a CA, say, that the user has put there to be used.
func (p preflight) userFiles() ([]journal.Entry, error) {
	var entries []journal.Entry
	for _, dir := range []string{p.Dirs.Kubernetes, p.Config.Cluster.CertificatesDir} {
		err := filepath.WalkDir(p.host.path(dir), func(path string, _ fs.DirEntry, err error) error {
			if os.IsNotExist(err) {
				return nil
			}
			if err != nil {
				return err
			}
			rel, err := filepath.Rel(p.host.root, path)
			if err == nil {
				entries = append(entries, journal.Entry{Kind: journal.Found, Name: "/" + rel})
			}
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("look for the user's files: %w", err)
		}
	}
	return entries, nil
}
