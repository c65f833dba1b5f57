//go:build vm

package main

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

const alone = `apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
staticPodPath: /etc/kubernetes/manifests
authentication: {anonymous: {enabled: true}, webhook: {enabled: false}}
authorization: {mode: AlwaysAllow}
runtimeRequestTimeout: 15m
shutdownGracePeriod: 120s
shutdownGracePeriodCriticalPods: 40s
cgroupDriver: %s
evictionHard: {memory.available: 1Gi}
memoryReservationPolicy: TieredReservation
memoryThrottlingFactor: 0.9
`

// Pods of each class. The second asks for more memory than it may have; the last
// shares out among its containers what is the pod's.
const pods = `
apiVersion: v1
kind: Pod
metadata: {name: guaranteed, namespace: default, uid: aaaa}
spec:
  hostNetwork: true
  containers:
  - {name: c, image: "boot.internal/testbox:1", command: [/testbox, sleep, 1h], resources: {limits: {cpu: 250m, memory: 64Mi}}}
---
apiVersion: v1
kind: Pod
metadata: {name: burstable, namespace: default, uid: bbbb}
spec:
  hostNetwork: true
  restartPolicy: Never
  containers:
  - {name: c, image: "boot.internal/testbox:1", command: [/testbox, fill-memory, "200"], resources: {limits: {memory: 48Mi}, requests: {cpu: 100m, memory: 48Mi}}}
---
apiVersion: v1
kind: Pod
metadata: {name: besteffort, namespace: default, uid: cccc}
spec:
  hostNetwork: true
  containers:
  - {name: c, image: "boot.internal/testbox:1", command: [/testbox, sleep, 1h]}
---
apiVersion: v1
kind: Pod
metadata: {name: shared, namespace: default, uid: dddd}
spec:
  hostNetwork: true
  resources: {requests: {cpu: 300m, memory: 96Mi}, limits: {cpu: 300m, memory: 96Mi}}
  containers:
  - {name: c, image: "boot.internal/testbox:1", command: [/testbox, sleep, 1h]}
---
apiVersion: v1
kind: Pod
metadata: {name: kept, namespace: default, uid: ffff}
spec:
  hostNetwork: true
  containers:
  - {name: c, image: "boot.internal/testbox:1", command: [/testbox, sleep, 1h], resources: {requests: {memory: 32Mi}, limits: {memory: 64Mi}}}
`

// Hungry takes so much of the machine's memory that it is short of it.
const hungry = `
apiVersion: v1
kind: Pod
metadata: {name: hungry, namespace: default, uid: eeee}
spec:
  hostNetwork: true
  restartPolicy: Never
  containers:
  - {name: c, image: "boot.internal/testbox:1", command: [/testbox, fill-memory, "1800"]}
`

// runAlone runs the loop as a service without an API server, with the pods.
func runAlone(t *testing.T, h host, driver string) {
	t.Helper()
	h.sh(t, quick, "mkdir -p /etc/kubernetes/manifests; cat > /etc/alone.yaml <<'E'\n"+fmt.Sprintf(alone, driver)+"E")
	for i, p := range strings.Split(pods, "---\n") {
		h.sh(t, quick, fmt.Sprintf("cat > /etc/kubernetes/manifests/%d.yaml <<'E'\n%sE", i, strings.TrimSpace(p)+"\n"))
	}
	h.sh(t, slow, "systemd-run --unit=boot-kubelet -p Type=notify -p KillMode=process -p Delegate=yes -p Restart=always -p RestartSec=1 -p TimeoutStartSec=infinity /payload/boot kubelet --config /etc/alone.yaml")
}

const api = "/payload/agent get https://127.0.0.1:10250"

// Pods are in groups of version 2, whoever makes them, with the limits of their
// containers, and are measured by them.
func TestGroups(t *testing.T) {
	for driver, groups := range map[string]struct{ all, guaranteed, burstable, besteffort, shared, kept, killed string }{
		// systemd removes the group of a container with its last process, often before
		// containerd has counted who was killed in it for want of memory (its
		// internal/cri/server/events.go tells of it), so the reason is the runtime's luck.
		"systemd":  {"kubepods.slice", "kubepods-podaaaa.slice", "kubepods-burstable.slice", "kubepods-besteffort.slice/kubepods-besteffort-podcccc.slice", "kubepods-poddddd.slice", "kubepods-burstable-podffff.slice", `"exitCode":137`},
		"cgroupfs": {"kubepods", "podaaaa", "burstable", "besteffort/podcccc", "poddddd", "podffff", `"exitCode":137,"reason":"OOMKilled"`},
	} {
		t.Run(driver, func(t *testing.T) {
			h := newHost(t, "pause", "testbox")
			runAlone(t, h, driver)
			h.until(t, slow, api+"/pods", has(groups.killed))
			h.until(t, slow, api+"/metrics", has("kubelet_memory_qos_node_memory_min_bytes 1.6777216e+08", "kubelet_memory_qos_node_memory_low_bytes 3.3554432e+07"))
			h.until(t, slow, api+"/metrics/cadvisor", has(`container_pressure_cpu_waiting_seconds_total{container="c"`))
			h.until(t, slow, api+"/stats/summary", has(`"psi":{"full"`, `"workingSetBytes"`, `"swapUsageBytes"`))
			if got := h.sh(t, quick, "cat /sys/fs/cgroup/"+groups.all+"/"+groups.guaranteed+"/*/memory.oom.group"); !strings.Contains(got, "1\n") {
				t.Errorf("a container is not killed as a whole: %q", got)
			}
			// That takes back what systemd was not told, of which runc can tell one of
			// version 253 only that containers are killed as a whole.
			h.sh(t, quick, "systemctl daemon-reload")
			for file, want := range map[string]string{
				"memory.min":                     "201326592", // what the guaranteed, the shared and the kept one ask for
				"memory.low":                     "33554432",
				groups.burstable + "/memory.low": "33554432",
				groups.burstable + "/" + groups.kept + "/memory.low":    "33554432",
				groups.burstable + "/" + groups.kept + "/memory.high":   "max",
				groups.burstable + "/" + groups.kept + "/*/memory.low":  "33554432",
				groups.burstable + "/" + groups.kept + "/*/memory.high": "63750144", // nine tenths of the way to 64Mi
				groups.guaranteed + "/memory.min":                       "67108864",
				groups.guaranteed + "/*/memory.min":                     "67108864",
				groups.shared + "/memory.min":                           "100663296",
				groups.guaranteed + "/cpu.max":                          "25000 100000",
				groups.guaranteed + "/memory.max":                       "67108864",
				groups.besteffort + "/cpu.weight":                       "1",
				groups.besteffort + "/memory.max":                       "max",
				groups.shared + "/cpu.max":                              "30000 100000",
				groups.shared + "/memory.max":                           "100663296",
			} {
				if got := h.sh(t, quick, "cat /sys/fs/cgroup/"+groups.all+"/"+file); !strings.Contains(got, want+"\n") {
					t.Errorf("%s is %q, not %s", file, got, want)
				}
			}
			if got := h.sh(t, quick, "cat /sys/fs/cgroup/"+groups.all+"/memory.max"); got == "max\n" {
				t.Error("all pods together may use all there is")
			}
			t.Run("kill", func(t *testing.T) { killed(t, h, "/sys/fs/cgroup/"+groups.all) })
			t.Run("shortage", func(t *testing.T) { shortage(t, h) })
			t.Run("shutdown", func(t *testing.T) { shutdown(t, h) })
		})
	}
}

// A loop that is killed is started again by systemd, and no process of a pod notices.
func killed(t *testing.T, h host, pods string) {
	processes := "cd " + pods + "; find . -name cgroup.procs | sort | xargs grep ."
	before := h.sh(t, quick, processes)
	h.sh(t, quick, "systemctl kill --kill-whom=main -s KILL boot-kubelet")
	h.until(t, slow, "systemctl show boot-kubelet -p NRestarts,ActiveState", has("NRestarts=1", "ActiveState=active"))
	h.until(t, slow, api+"/pods", has(`"name":"besteffort-vm"`, `"name":"guaranteed-vm"`, `"name":"shared-vm"`, `"started":true`))
	if after := h.sh(t, quick, processes); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
	if err := has(`"restartCount":1`)(h.sh(t, quick, api+"/pods")); err == nil {
		t.Error("a container was started again")
	}
}

// A machine that is short of memory says so. It has static pods alone, none of which
// is evicted (SP-32), so the one that takes too much is left to the kernel.
func shortage(t *testing.T, h host) {
	h.sh(t, quick, "cat > /etc/kubernetes/manifests/hungry.yaml <<'E'\n"+strings.TrimSpace(hungry)+"\nE")
	h.until(t, slow, "journalctl -u boot-kubelet --no-pager -o cat", has("reason=EvictionThresholdMet", "no pod can be evicted"))
	h.sh(t, quick, "rm /etc/kubernetes/manifests/hungry.yaml")
	h.until(t, slow, api+"/pods", func(out string) error {
		if err := has(`"name":"besteffort-vm"`, `"name":"guaranteed-vm"`)(out); err != nil {
			return err
		}
		if strings.Contains(out, `"hungry-vm"`) {
			return errors.New("it is still there")
		}
		return nil
	})
	if err := has("Evicted")(h.sh(t, quick, api+"/pods")); err == nil {
		t.Error("a static pod was evicted")
	}
}

// The machine waits for pods before it goes down, and says how that went once it is
// back.
func shutdown(t *testing.T, h host) {
	h.until(t, slow, "systemd-inhibit --list --no-pager; cat /etc/systemd/logind.conf.d/99-kubelet.conf", has("kubelet", "shutdown", "delay", "InhibitDelayMaxSec=120"))
	h.sh(t, quick, "systemctl --no-block poweroff")
	h.down(t)
	h.start(t)
	log := h.sh(t, quick, "journalctl -b -1 -u boot-kubelet --no-pager -o cat; cat /var/lib/kubelet/graceful_node_shutdown_state")
	if err := has("machine shuts down", "kill c (Terminated", `"endTime":"2`)(log); err != nil {
		t.Errorf("%v in\n%s", err, tail(log, 4000))
	}
	if strings.Contains(log, "pods have not ended in time") {
		t.Errorf("pods did not end:\n%s", tail(log, 4000))
	}
}
