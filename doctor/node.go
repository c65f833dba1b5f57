package doctor

import (
	"fmt"
	"strings"
	"time"

	"boot.internal/status"
)

// loop is the kubelet loop itself.
func loop(f Facts) []Finding {
	l := f.Report.Loop
	start := "start it: 'boot init' or 'boot join' with the arguments of the first time"
	if l.Kind == "systemd" {
		start = "systemctl restart boot-kubelet"
	}
	switch {
	case !l.Running && strings.Contains(l.Error, "does not run"):
		return one("LoopNotRunning", Critical, "the kubelet loop does not run: pods go on, but nobody restarts them",
			l.Last, start+"; why it ended: "+l.Log)
	case !l.Running:
		return one("LoopNotAnswering", Critical, "the kubelet loop does not answer", l.Error, start+"; its log: "+l.Log)
	}
	const young, often = 10 * time.Minute, 3
	if l.Exits >= often && f.Report.Now.Sub(l.Since) < young {
		return one("LoopRestarts", Warning, fmt.Sprintf("the kubelet loop has ended %d times", l.Exits), l.Last, "see why in its log: "+l.Log)
	}
	return nil
}

// engine is the container engine.
func engine(f Facts) []Finding {
	e := f.Report.Engine
	if e.Healthy {
		return nil
	}
	do := "see why in /var/log/boot/containerd.log; the loop starts boot's own engine again when it ends"
	if !strings.HasPrefix(e.Socket, "/run/boot/") {
		do = "start the engine behind " + e.Socket + ", say 'systemctl restart containerd'"
	}
	return one("EngineDown", Critical, "the container engine does not answer: no container can be started", e.Socket+": "+e.Error, do)
}

// cgroupDriver is only good to know: the loop goes by the engine.
func cgroupDriver(f Facts) []Finding {
	if f.EngineDriver == "" || f.ConfiguredDriver == "" || f.EngineDriver == f.ConfiguredDriver {
		return nil
	}
	return one("CgroupDriver", Note, "the cgroup driver of the engine is not the one that is configured; that of the engine is used",
		"engine: "+f.EngineDriver+", configuration: "+f.ConfiguredDriver, "set cgroupDriver: "+f.EngineDriver+" in /var/lib/kubelet/config.yaml")
}

func journal(f Facts) []Finding {
	if f.Journal == "" {
		return nil
	}
	return one("Journal", Warning, "what boot changed on this host is not known: a reset could not undo it", f.Journal,
		"put /var/lib/boot/journal.json back from a backup")
}

// How little room is worth a word, as shares of all.
const (
	tight = 0.10
	full  = 0.05
)

func disks(f Facts) []Finding {
	var all []Finding
	for _, d := range f.Disks {
		for _, of := range []struct {
			id, what   string
			free, size uint64
		}{{"DiskSpace", "room", d.Free, d.Total}, {"DiskInodes", "inodes", d.Inodes, d.AllInodes}} {
			if of.size == 0 {
				continue
			}
			left := float64(of.free) / float64(of.size)
			if left >= tight {
				continue
			}
			severity := Warning
			if left < full {
				severity = Critical
			}
			all = append(all, Finding{
				of.id, severity, fmt.Sprintf("the disk of %s has hardly any %s left", d.Path, of.what),
				fmt.Sprintf("%.1f %% are free", 100*left), "make room: du -xsh " + d.Path + "/*, and old logs in /var/log",
			})
		}
	}
	return all
}

// pressure is what makes the node evict pods.
func pressure(f Facts) []Finding {
	var all []Finding
	for _, c := range f.Report.Node.Conditions {
		if !strings.HasSuffix(c.Type, "Pressure") || c.Status != "True" {
			continue
		}
		do := map[string]string{
			"MemoryPressure": "see who needs it: ps aux --sort=-rss | head", "DiskPressure": "make room: df -h; df -i",
			"PIDPressure": "see who has them: ps -eLf | awk '{print $2}' | sort | uniq -c | sort -n | tail",
		}[c.Type]
		all = append(all, Finding{c.Type, Critical, "the node is short of something and evicts pods", c.Message, do})
	}
	return all
}

// network is what connects pods.
func network(f Facts) []Finding {
	if !f.Report.Loop.Running || !f.Report.Engine.Healthy || f.Report.Engine.Network {
		return nil
	}
	return one("NetworkNotReady", Critical, "pods get no network: the engine has no CNI configuration it can use",
		"container runtime network not ready", "ls /etc/cni/net.d; see why in the log of the loop: "+f.Report.Loop.Log)
}

// certificates of the node's files.
func certificates(f Facts) []Finding {
	var all []Finding
	for _, c := range f.Report.Certificates {
		switch {
		case c.Ended(f.Report.Now):
			all = append(all, Finding{"CertificateExpired", Critical, "the certificate " + c.Name + " has ended", c.Path + ": " + status.Short(f.Report.Now.Sub(c.NotAfter)) + " ago", renewal(c)})
		case c.NotAfter.IsZero():
			all = append(all, Finding{"CertificateUnreadable", Warning, "the certificate " + c.Name + " cannot be read", c.Path + ": " + c.Trouble, renewal(c)})
		case c.Trouble != "":
			all = append(all, Finding{"CertificateTrouble", Warning, "something is wrong with the certificate " + c.Name, c.Path + ": " + c.Trouble, renewal(c)})
		}
	}
	return all
}

// rotation of authorities, which ends when somebody brings it to its end.
func rotation(f Facts) []Finding {
	r := f.Report.Loop.Rotation
	if r == nil {
		return nil
	}
	const again = "on the control plane where it was begun: boot certs rotate-ca"
	switch {
	case r.Trouble != "":
		return one("RotationStuck", Critical, "a rotation of authorities waits for this node", r.Trouble, "put that right: the loop tries again by itself; then, "+again)
	case r.Reached:
		return one("RotationUnderWay", Note, "a rotation of authorities is under way; this node has done its part so far", r.Stage, "if nobody is at it, "+again)
	default:
		return one("RotationUnderWay", Note, "a rotation of authorities is under way, and this node is at it", r.Stage, "see how it goes: "+f.Report.Loop.Log)
	}
}

// renewal is how a certificate is made anew.
func renewal(c status.Certificate) string {
	switch {
	case c.Authority:
		return "boot certs rotate-ca replaces it, on all nodes"
	case c.Name == "kubelet-serving":
		return "the loop asks the cluster for another: boot status tells whether it reaches an API server"
	default:
		return "boot certs renew " + c.Name
	}
}

// hosts is what most programs take localhost from.
func hosts(f Facts) []Finding {
	for line := range strings.Lines(f.Hosts) {
		text, _, _ := strings.Cut(line, "#")
		fields := strings.Fields(text)
		for _, name := range fields[min(1, len(fields)):] {
			if name == "localhost" && (strings.HasPrefix(fields[0], "127.") || fields[0] == "::1") {
				return nil
			}
		}
	}
	return one("HostsLocalhost", Warning, "/etc/hosts does not say where localhost is", "", "echo '127.0.0.1 localhost' >> /etc/hosts")
}

// complaints are what the loop keeps warning of.
func complaints(f Facts) []Finding {
	const recent, often = 2 * time.Minute, 3
	var all []Finding
	for _, c := range f.Report.Loop.Complaints {
		if f.Report.Now.Sub(c.Last) > recent || c.Count < often || c.Err == "" {
			continue
		}
		all = append(all, Finding{
			"LoopComplaint", Note, strings.TrimSpace(fmt.Sprintf("the loop has warned %d times: %s %s", c.Count, c.Message, c.Of)),
			c.Err, "the whole story: " + f.Report.Loop.Log,
		})
	}
	return all
}
