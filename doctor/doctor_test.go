package doctor

import (
	"slices"
	"strings"
	"testing"
	"time"

	"boot.internal/kubelet/local"
	"boot.internal/status"
)

var now = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

// fine returns what is known of a control plane with which nothing is wrong.
func fine() Facts {
	return Facts{
		Report: status.Report{
			Verdict: status.OK, Now: now,
			Node:   status.Node{Name: "cp1", Registered: true, Ready: "True", Conditions: []local.Condition{{Type: "DiskPressure", Status: "False"}}},
			Loop:   status.Loop{Running: true, Service: status.Service{Kind: "systemd", Log: "journalctl -u boot-kubelet"}, APIServers: []local.APIServer{{Address: "192.0.2.1:6443", Health: "ready", InUse: true}}},
			Engine: status.Engine{Healthy: true, Network: true, Socket: "/run/boot/containerd.sock"},
			API: &status.API{Reachable: true, Ways: []status.APIWay{
				{Server: "https://127.0.0.1:7443", File: "/etc/kubernetes/kubelet.conf", OK: true, Clock: 1},
				{Server: "https://192.0.2.1:6443", File: "/etc/kubernetes/controller-manager.conf", OK: true},
			}},
			Etcd:         &status.Etcd{Quorum: true, Members: []status.Member{{Name: "cp1", Healthy: true}}},
			StaticPods:   []local.Pod{{Namespace: "kube-system", Name: "etcd-cp1", Static: true, State: local.Running}},
			Certificates: []status.Certificate{{Name: "apiserver", NotAfter: now.Add(300 * 24 * time.Hour)}, {Name: "kubelet-client", NotAfter: now.Add(time.Hour)}},
		},
		Disks:        []Disk{{Path: "/var/lib/etcd", Free: 50, Total: 100, Inodes: 50, AllInodes: 100}, {Path: "/run", Free: 1, Total: 2}},
		Resolver:     Resolver{Path: "/etc/resolv.conf", Servers: []string{"192.0.2.53"}},
		ClusterDNS:   &Answer{Server: "10.96.0.10"},
		EngineDriver: "cgroupfs", ConfiguredDriver: "cgroupfs",
		FsyncMillis: 3, Hosts: "127.0.0.1\tlocalhost # here\n192.0.2.1 cp1\n", Kubeconfig: "/etc/kubernetes/kubelet.conf",
	}
}

func TestNothingIsWrong(t *testing.T) {
	if all := Examine(fine()); len(all) > 0 || Worrying(all) {
		t.Errorf("%+v", all)
	}
}

// pod is one, in a state, that says why.
func pod(state local.PodState, why string) local.Pod {
	return local.Pod{
		Namespace: "kube-system", Name: "etcd-cp1", Static: true, State: state, Created: now.Add(-time.Hour), Since: now.Add(-time.Hour),
		Failure: &local.Failure{Text: why, Container: "c"}, Containers: []local.Container{{Name: "c", LogDir: "/var/log/pods/x/c"}},
	}
}

func TestExamine(t *testing.T) {
	type r = *status.Report
	for name, tc := range map[string]struct {
		breaks   func(*Facts, r)
		id       string
		severity Severity
		says     string // in what, evidence or advice
	}{
		"no node": {func(_ *Facts, r r) { r.Verdict, r.Wrong = status.NoNode, []string{"no node"} }, "NoNode", Critical, "boot init"},
		"the loop is gone": {func(_ *Facts, r r) {
			r.Loop.Running, r.Loop.Error, r.Loop.Last = false, "the kubelet loop does not run", "signal: killed"
		}, "LoopNotRunning", Critical, "signal: killed"},
		"the loop hangs": {func(_ *Facts, r r) { r.Loop.Running, r.Loop.Error = false, "context deadline exceeded" }, "LoopNotAnswering", Critical, "systemctl restart"},
		"the loop ends again and again": {func(_ *Facts, r r) {
			r.Loop.Exits, r.Loop.Last, r.Loop.Since = 7, "exit status 2", now.Add(-time.Minute)
		}, "LoopRestarts", Warning, "7 times"},
		"no engine":          {func(_ *Facts, r r) { r.Engine.Healthy, r.Engine.Error = false, "refused" }, "EngineDown", Critical, "refused"},
		"two drivers":        {func(f *Facts, _ r) { f.ConfiguredDriver = "systemd" }, "CgroupDriver", Note, "engine: cgroupfs"},
		"no journal":         {func(f *Facts, _ r) { f.Journal = "unexpected end" }, "Journal", Warning, "unexpected end"},
		"a full disk":        {func(f *Facts, _ r) { f.Disks[0].Free = 4 }, "DiskSpace", Critical, "4.0 %"},
		"a tight disk":       {func(f *Facts, _ r) { f.Disks[0].Free = 8 }, "DiskSpace", Warning, "/var/lib/etcd"},
		"no inodes":          {func(f *Facts, _ r) { f.Disks[0].Inodes = 0 }, "DiskInodes", Critical, "inodes"},
		"pressure":           {func(_ *Facts, r r) { r.Node.Conditions[0].Status = "True" }, "DiskPressure", Critical, "df -h"},
		"no network":         {func(_ *Facts, r r) { r.Engine.Network = false }, "NetworkNotReady", Critical, "/etc/cni/net.d"},
		"no kubeconfig":      {func(f *Facts, _ r) { f.KubeconfigMissing = true }, "KubeconfigMissing", Critical, "boot join"},
		"no API server":      {func(_ *Facts, r r) { r.API.Reachable, r.API.Ways[0].OK, r.API.Ways[0].Error = false, false, "refused" }, "APIUnreachable", Critical, "refused"},
		"the wrong server":   {func(_ *Facts, r r) { r.API.Ways[0].OK = false }, "KubeconfigNowhere", Critical, "kubelet.conf"},
		"one server is down": {func(_ *Facts, r r) { r.Loop.APIServers[0].Health = "down" }, "APIServerDown", Warning, "192.0.2.1:6443 is down"},
		"not registered":     {func(_ *Facts, r r) { r.Node.Registered = false }, "NodeNotRegistered", Critical, "cp1"},
		"clocks differ":      {func(_ *Facts, r r) { r.API.Ways[0].Clock = -40 }, "ClockSkew", Warning, "-40 s"},
		"no quorum":          {func(_ *Facts, r r) { r.Etcd.Quorum = false }, "EtcdNoQuorum", Critical, "quorum"},
		"a member is down":   {func(_ *Facts, r r) { r.Etcd.Members[0].Healthy = false }, "EtcdMemberDown", Warning, "boot etcd remove cp1"},
		"etcd is full":       {func(_ *Facts, r r) { r.Etcd.Members[0].Error = "alarm:NOSPACE" }, "EtcdNoSpace", Critical, "boot etcd defrag"},
		"etcd is corrupt":    {func(_ *Facts, r r) { r.Etcd.Members[0].Error = "alarm:CORRUPT" }, "EtcdCorrupt", Critical, "cp1"},
		"etcd is large":      {func(_ *Facts, r r) { r.Etcd.Members[0].DBSize = 7 << 30 }, "EtcdLarge", Warning, "7.0 GiB"},
		"a slow disk":        {func(f *Facts, _ r) { f.FsyncMillis = 250 }, "EtcdSlowDisk", Warning, "250 ms"},
		"an ended certificate": {func(_ *Facts, r r) {
			r.Certificates[0].NotAfter = now.Add(-time.Hour)
		}, "CertificateExpired", Critical, "boot certs renew apiserver"},
		"a certificate that is not renewed": {func(_ *Facts, r r) {
			r.Certificates[0].Trouble = "it should have been renewed 20d ago"
		}, "CertificateTrouble", Warning, "20d"},
		"a broken certificate": {func(_ *Facts, r r) { r.Certificates[0] = status.Certificate{Name: "apiserver", Trouble: "no PEM"} }, "CertificateUnreadable", Warning, "no PEM"},
		"a rotation that waits": {func(_ *Facts, r r) {
			r.Loop.Rotation = &local.Rotation{Stage: "1/drop", Trouble: "1/drop: etcd is ill"}
		}, "RotationStuck", Critical, "etcd is ill"},
		"a rotation at work":      {func(_ *Facts, r r) { r.Loop.Rotation = &local.Rotation{Stage: "1/drop"} }, "RotationUnderWay", Note, "is at it"},
		"a rotation that is left": {func(_ *Facts, r r) { r.Loop.Rotation = &local.Rotation{Stage: "1/drop", Reached: true} }, "RotationUnderWay", Note, "boot certs rotate-ca"},
		"a refused manifest": {func(_ *Facts, r r) {
			r.Manifests = []local.Problem{{Path: "/m/x.yaml", Line: 3, Reason: "StaticPodKept", Message: "wrong", Kept: now.Add(-time.Hour)}}
		}, "ManifestRefused", Warning, "/m/x.yaml:3: wrong"},
		"a backup beside manifests": {func(_ *Facts, r r) {
			r.Manifests = []local.Problem{{Path: "/m/x.bak", Reason: "ManifestIgnored", Message: "not read"}}
		}, "ManifestNoted", Note, "/m/x.bak"},
		"a component crashes":        {func(_ *Facts, r r) { r.StaticPods[0] = pod(local.Crashing, "exit code 1: bad flag") }, "PodCrashing", Critical, "bad flag"},
		"a component has no image":   {func(_ *Facts, r r) { r.StaticPods[0] = pod(local.Stuck, "ErrImagePull: x") }, "PodImage", Critical, "registry"},
		"a component cannot be made": {func(_ *Facts, r r) { r.StaticPods[0] = pod(local.Stuck, "CreateContainerConfigError: x") }, "PodStuck", Critical, "ConfigError"},
		"a component is not taken":   {func(_ *Facts, r r) { r.StaticPods[0] = pod(local.Rejected, "OutOfcpu") }, "PodRejected", Critical, "OutOfcpu"},
		"a component is not ready":   {func(_ *Facts, r r) { r.StaticPods[0] = pod(local.Unready, "probe") }, "PodUnready", Critical, "probe"},
		"a pod does not come up":     {func(_ *Facts, r r) { r.OtherPods.Unwell = []local.Pod{pod(local.Starting, "no volume")} }, "PodPending", Warning, "no volume"},
		"DNS leads back":             {func(f *Facts, _ r) { f.Resolver.Servers = []string{"127.0.0.53"} }, "ResolverLoop", Warning, "127.0.0.53"},
		"DNS asks the cluster":       {func(f *Facts, _ r) { f.Resolver.Servers = []string{"10.96.0.10"} }, "ResolverLoop", Warning, "10.96.0.10"},
		"DNS is silent":              {func(f *Facts, _ r) { f.ClusterDNS.Error = "timeout" }, "ClusterDNS", Warning, "timeout"},
		"no localhost":               {func(f *Facts, _ r) { f.Hosts = "# 127.0.0.1 localhost\n\n" }, "HostsLocalhost", Warning, "/etc/hosts"},
		"the loop keeps warning": {func(_ *Facts, r r) {
			r.Loop.Complaints = []local.Complaint{{Message: "list what runs", Err: "hung up", Count: 5, Last: now}}
		}, "LoopComplaint", Note, "hung up"},
		"a check of init": {func(f *Facts, _ r) {
			f.Preflight = []Finding{{ID: "FileContent--proc-sys-net-ipv4-ip_forward", Severity: Warning, What: "net.ipv4.ip_forward is 0"}}
		}, "FileContent--proc-sys-net-ipv4-ip_forward", Warning, "is 0"},
		"something was not seen": {func(f *Facts, _ r) { f.Unseen = []string{"x: denied"} }, "Unseen", Note, "denied"},
	} {
		t.Run(name, func(t *testing.T) {
			f := fine()
			tc.breaks(&f, &f.Report)
			all := Examine(f)
			i := slices.IndexFunc(all, func(f Finding) bool { return f.ID == tc.id })
			if i < 0 || len(all) != 1 {
				t.Fatalf("want %s alone: %+v", tc.id, all)
			}
			got := all[i]
			if got.Severity != tc.severity || got.What == "" || !strings.Contains(got.What+" "+got.Evidence+" "+got.Do, tc.says) {
				t.Errorf("%+v", got)
			}
			if Worrying(all) != (tc.severity != Note) {
				t.Error("it is not known whether to worry")
			}
		})
	}
}

// What is worst comes first.
func TestOrder(t *testing.T) {
	f := fine()
	f.ConfiguredDriver, f.ClusterDNS.Error, f.Report.Engine.Healthy = "systemd", "timeout", false
	var got []Severity
	for _, finding := range Examine(f) {
		got = append(got, finding.Severity)
	}
	if want := []Severity{Critical, Warning, Note}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}
