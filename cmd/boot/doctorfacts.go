package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"boot.internal/config"
	"boot.internal/doctor"
	"boot.internal/kubelet/runtime"
	"boot.internal/phases"
	"boot.internal/service"
	"boot.internal/status"
)

// factLimit is how long each of the facts may take.
const factLimit = 2 * time.Second

// facts gathers what a diagnosis is made of, all at once.
func (h *hostLook) facts(ctx context.Context, look func(context.Context) status.Report) doctor.Facts {
	ctx, cancel := context.WithTimeout(ctx, 2*factLimit)
	defer cancel()
	f := doctor.Facts{Kubeconfig: filepath.Join(h.dirs.Kubernetes, "kubelet.conf")}
	var preflightErr error
	var group sync.WaitGroup
	group.Go(func() { f.Report = look(ctx) })
	group.Go(func() { f.Preflight, preflightErr = h.preflight(ctx) })
	group.Go(func() { f.ClusterDNS = h.askDNS(ctx) })
	group.Go(func() { f.EngineDriver = h.engineDriver(ctx) })
	group.Go(func() { f.FsyncMillis = h.fsync(ctx) })
	group.Wait()
	f.ConfiguredDriver = h.node.Kubelet.CgroupDriver
	f.Disks, f.Resolver = h.disks(), h.resolver()
	hosts, err := os.ReadFile("/etc/hosts")
	f.Hosts = string(hosts)
	for what, err := range map[string]error{"the checks of init and join": preflightErr, "/etc/hosts": err} {
		if err != nil {
			f.Unseen = append(f.Unseen, what+": "+err.Error())
		}
	}
	if _, err := hostJournal().Entries(); err != nil {
		f.Journal = err.Error()
	}
	_, err = os.Stat(f.Kubeconfig)
	f.KubeconfigMissing = errors.Is(err, os.ErrNotExist) && h.begun()
	return f
}

// preflight makes the checks of init or join, as this node is now.
func (h *hostLook) preflight(ctx context.Context) ([]doctor.Finding, error) {
	cfg, err := h.initConfig()
	if err != nil {
		return nil, err
	}
	manager, err := service.New(serviceOptions(h.node.Boot, nil, h.log))
	if err != nil {
		return nil, err
	}
	_, err = os.Stat(h.manifest(config.ComponentAPIServer))
	var all []doctor.Finding
	for _, f := range phases.Examine(ctx, phases.PreflightOptions{
		Config: cfg, Dirs: phases.DefaultDirs(), Journal: hostJournal(), Service: manager, Worker: err != nil,
	}) {
		severity := doctor.Warning
		if f.Warning {
			severity = doctor.Note
		}
		all = append(all, doctor.Finding{ID: f.ID, Severity: severity, What: f.Text, Do: f.Hint})
	}
	return all, nil
}

func (h *hostLook) manifest(component string) string {
	return filepath.Join(h.dirs.Manifests, component+".yaml")
}

// initConfig is how init would have to be called for this node: what its
// manifests and the configuration of the loop tell, and defaults.
func (h *hostLook) initConfig() (*config.Init, error) {
	host, err := config.ReadHost()
	if err != nil {
		return nil, err
	}
	cfg, err := config.LoadInit(config.InitOptions{Host: host})
	if err != nil {
		return nil, err
	}
	cfg.Kubelet, cfg.Boot = h.node.Kubelet, h.node.Boot
	cfg.Init.NodeRegistration.Name = h.name()
	const kubeadms = "kubeadm.kubernetes.io/kube-apiserver.advertise-address.endpoint"
	if ip, port, err := net.SplitHostPort(h.annotation(config.ComponentAPIServer, kubeadms)); err == nil {
		number, _ := strconv.Atoi(port) // what is none is for nobody to listen on
		cfg.Init.LocalAPIEndpoint.AdvertiseAddress, cfg.Init.LocalAPIEndpoint.BindPort = ip, int32(number)
	}
	if _, err := os.Stat(h.manifest(config.ComponentEtcd)); err != nil {
		cfg.Cluster.Etcd.Local = nil
	}
	_, err = os.Stat(h.manifest(config.ComponentProxy))
	cfg.Cluster.Proxy.Disabled = err != nil
	return cfg, nil
}

// annotation reads one of a component's manifest, "" if there is none.
func (h *hostLook) annotation(component, name string) string {
	data, err := os.ReadFile(h.manifest(component))
	if err != nil {
		return ""
	}
	var p corev1.Pod
	if yaml.Unmarshal(data, &p) != nil {
		return ""
	}
	return p.Annotations[name]
}

// askDNS asks the cluster's DNS for the API server, which is always there. A node
// without a cluster has none to ask.
func (h *hostLook) askDNS(ctx context.Context) *doctor.Answer {
	c := h.node.Kubelet
	if _, err := os.Stat(filepath.Join(h.dirs.Kubernetes, "kubelet.conf")); err != nil || len(c.ClusterDNS) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, factLimit)
	defer cancel()
	server := c.ClusterDNS[0]
	resolver := net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, network, net.JoinHostPort(server, "53"))
	}}
	answer := &doctor.Answer{Server: server}
	if _, err := resolver.LookupHost(ctx, "kubernetes.default.svc."+c.ClusterDomain+"."); err != nil {
		answer.Error = err.Error()
	}
	return answer
}

// engineDriver is the engine's cgroup driver, "" if it does not tell.
func (h *hostLook) engineDriver(ctx context.Context) string {
	conn, _, err := h.dial(ctx)
	if err != nil {
		return ""
	}
	defer func() { _ = conn.Close() }()
	ctx, cancel := context.WithTimeout(ctx, factLimit)
	defer cancel()
	driver, err := runtime.New(runtime.Options{CRI: conn.Runtime, Log: h.log}).CgroupDriver(ctx)
	if err != nil {
		return ""
	}
	return driver
}

// fsync is how long etcd's writes to disk take on average, in milliseconds, by its
// metrics; 0 if it does not tell.
func (h *hostLook) fsync(ctx context.Context) float64 {
	const metrics = "http://127.0.0.1:2381/metrics"
	if _, err := os.Stat(h.manifest(config.ComponentEtcd)); err != nil {
		return 0
	}
	ctx, cancel := context.WithTimeout(ctx, factLimit)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, metrics, nil)
	if err != nil {
		return 0
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0
	}
	defer func() { _ = resp.Body.Close() }()
	var sum, count float64
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		_, _ = fmt.Sscanf(lines.Text(), "etcd_disk_wal_fsync_duration_seconds_sum %g", &sum)
		_, _ = fmt.Sscanf(lines.Text(), "etcd_disk_wal_fsync_duration_seconds_count %g", &count)
	}
	if count == 0 {
		return 0
	}
	return 1000 * sum / count
}

// disks are those of what fills up; of directories on one disk, the first.
func (h *hostLook) disks() []doctor.Disk {
	var all []doctor.Disk
	seen := map[unix.Fsid]bool{}
	for _, path := range []string{h.dirs.Etcd, h.dirs.Kubelet, h.dirs.State, h.dirs.PodLogs, "/run"} {
		var s unix.Statfs_t
		if unix.Statfs(path, &s) != nil || seen[s.Fsid] {
			continue
		}
		seen[s.Fsid] = true
		size := uint64(s.Bsize)
		all = append(all, doctor.Disk{Path: path, Free: s.Bavail * size, Total: s.Blocks * size, Inodes: s.Ffree, AllInodes: s.Files})
	}
	return all
}

// resolver is what pods are given a copy of.
func (h *hostLook) resolver() doctor.Resolver {
	r := doctor.Resolver{Path: "/etc/resolv.conf"}
	if c := h.node.Kubelet.ResolverConfig; c != nil && *c != "" {
		r.Path = *c
	}
	data, err := runtime.ResolvConf(r.Path)
	if err != nil {
		return r
	}
	for line := range strings.Lines(string(data)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "nameserver" {
			r.Servers = append(r.Servers, f[1])
		}
	}
	return r
}
