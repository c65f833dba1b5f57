package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	statsapi "k8s.io/kubelet/pkg/apis/stats/v1alpha1"

	"boot.internal/e2e/internal/lab"
)

// metricsTests are about what the node measures, and who reads it.
func metricsTests() []podTest {
	return []podTest{
		{"the figures of a pod", testFigures},
		{"metrics of the node", testMetricsEndpoints},
		{"metrics-server and kubectl top", testMetricsServer},
	}
}

// summary asks the node for its figures.
func (c *podCluster) summary(ctx context.Context) (*statsapi.Summary, error) {
	data, err := c.Client.CoreV1().RESTClient().Get().AbsPath("/api/v1/nodes/" + c.Name + "/proxy/stats/summary").DoRaw(ctx)
	if err != nil {
		return nil, err
	}
	var s statsapi.Summary
	return &s, json.Unmarshal(data, &s)
}

// podSummary returns the figures of a pod once they are as wanted.
func (c *podCluster) podSummary(t *testing.T, name string, measured func(statsapi.PodStats) error) (statsapi.NodeStats, statsapi.PodStats) {
	t.Helper()
	var node statsapi.NodeStats
	var pod statsapi.PodStats
	lab.Until(t, 2*patience, "see figures of pod "+name, func(ctx context.Context) error {
		s, err := c.summary(ctx)
		if err != nil {
			return err
		}
		node = s.Node
		if n := s.Node.Runtime.ImageFs.UsedBytes; n == nil || *n == 0 {
			return fmt.Errorf("the engine has not added up its images yet")
		}
		if n := len(s.Node.SystemContainers); n != 3 { // one of them is asked for who it is
			return fmt.Errorf("%d of what runs pods are known", n)
		}
		for _, p := range s.Pods {
			if p.PodRef.Name == name && p.PodRef.Namespace == c.Namespace {
				pod = p
				return measured(p)
			}
		}
		return fmt.Errorf("not among %d pods", len(s.Pods))
	})
	return node, pod
}

// measuredAfter returns a check that everything of a pod was measured, CPU and memory
// after some time, its volume scratch once it held 100 KiB, and that somebody talked
// to the pod.
func measuredAfter(since time.Time) func(statsapi.PodStats) error {
	return func(p statsapi.PodStats) error {
		since := since.Truncate(time.Second).Add(time.Second) // figures have no parts of a second
		i := slices.IndexFunc(p.VolumeStats, func(v statsapi.VolumeStats) bool { return v.Name == "scratch" })
		switch {
		case len(p.Containers) != 1 || p.Containers[0].Rootfs == nil || p.Containers[0].Memory == nil || p.Containers[0].CPU == nil:
			return fmt.Errorf("containers %+v", p.Containers)
		case p.Containers[0].Memory.Time.Time.Before(since) || p.Containers[0].CPU.UsageNanoCores == nil:
			return fmt.Errorf("container was measured at %s", p.Containers[0].Memory.Time)
		case p.Memory == nil || p.Memory.Time.Time.Before(since):
			return fmt.Errorf("memory %+v", p.Memory)
		case len(p.VolumeStats) < 2 || i < 0 || p.VolumeStats[i].UsedBytes == nil || *p.VolumeStats[i].UsedBytes < 100<<10: // once a minute
			return fmt.Errorf("volumes %+v", p.VolumeStats)
		case p.Network == nil || p.Network.RxBytes == nil || *p.Network.RxBytes == 0:
			return fmt.Errorf("network %+v", p.Network)
		}
		return nil
	}
}

func testFigures(t *testing.T, c *podCluster) {
	const mib = 1 << 20
	p := boxPod("full", "fill-memory", "64")
	p.Spec.Containers[0].Resources.Limits = corev1.ResourceList{"memory": resource.MustParse("128Mi")}
	p.Spec.Volumes = []corev1.Volume{{Name: "scratch", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}}
	mount := []corev1.VolumeMount{{Name: "scratch", MountPath: "/scratch"}}
	p.Spec.Containers[0].VolumeMounts = mount
	p.Spec.InitContainers = []corev1.Container{{
		Name: "fill", Image: testImage, Args: []string{"write", "/scratch/file", strings.Repeat("x", 100<<10)}, VolumeMounts: mount,
	}}
	p.Spec.Containers[0].LivenessProbe = &corev1.Probe{ProbeHandler: getProbe("/", 8080), FailureThreshold: 1000} // so that it gets packets
	made := c.Create(t, p)
	c.AwaitReady(t, "full")
	lab.Until(t, patience, "see it full", func(ctx context.Context) error {
		log, err := c.Client.CoreV1().Pods(c.Namespace).GetLogs("full", &corev1.PodLogOptions{}).DoRaw(ctx)
		if err == nil && string(log) != "holding 64 MiB\n" {
			err = fmt.Errorf("it says %q", log)
		}
		return err
	})
	node, s := c.podSummary(t, "full", measuredAfter(time.Now()))
	one := s.Containers[0]
	between := func(what string, got *uint64, least, most uint64) {
		t.Helper()
		if got == nil || *got < least || *got > most {
			t.Errorf("%s is %v, want %d to %d", what, told(got), least, most)
		}
	}
	between("working set of the container", one.Memory.WorkingSetBytes, 64*mib, 100*mib)
	between("what is left to the container", one.Memory.AvailableBytes, 28*mib, 64*mib)
	between("RSS of the container", one.Memory.RSSBytes, 64*mib, 100*mib)
	between("page faults", one.Memory.PageFaults, 1000, 1e9)
	between("CPU time", one.CPU.UsageCoreNanoSeconds, 1e6, 1e12)
	between("share of CPU", one.CPU.UsageNanoCores, 0, 64e9)
	between("working set of the pod", s.Memory.WorkingSetBytes, *one.Memory.WorkingSetBytes-8*mib, *one.Memory.WorkingSetBytes+32*mib)
	between("layer of the container", one.Rootfs.CapacityBytes, 1<<30, 1<<60)
	between("ephemeral storage", s.EphemeralStorage.UsedBytes, 100<<10, mib)
	between("processes", s.ProcessStats.ProcessCount, 2, 10)
	between("received bytes", s.Network.RxBytes, 1, 1e9)
	between("working set of the node", node.Memory.WorkingSetBytes, *one.Memory.WorkingSetBytes, 1<<50)
	between("memory left to the node", node.Memory.AvailableBytes, mib, 1<<50)
	between("file system of the node", node.Fs.AvailableBytes, mib, 1<<60)
	between("images", node.Runtime.ImageFs.UsedBytes, mib, 1<<50)
	for _, v := range s.VolumeStats {
		if v.Name == "scratch" {
			between("volume", v.UsedBytes, 100<<10, 200<<10)
			between("files in the volume", v.InodesUsed, 2, 2)
		}
	}
	if len(s.VolumeStats) < 2 || s.Network.Name != "eth0" || node.Rlimit.MaxPID == nil {
		t.Errorf("pod %+v, node %+v", s, node)
	}
	c.compareWithGroup(t, string(made.UID), *s.Memory.UsageBytes)
}

func told(n *uint64) string {
	if n == nil {
		return "not told"
	}
	return strconv.FormatUint(*n, 10)
}

// compareWithGroup compares with what the kernel says of the pod's group.
func (c *podCluster) compareWithGroup(t *testing.T, uid string, usage uint64) {
	t.Helper()
	for _, file := range []string{"memory/kubepods/burstable/pod%s/memory.usage_in_bytes", "kubepods/burstable/pod%s/memory.current"} {
		path := filepath.Join("/sys/fs/cgroup", fmt.Sprintf(file, uid))
		if !c.Exists(t, path) {
			continue
		}
		said, err := strconv.ParseUint(strings.TrimSpace(c.ReadFile(t, path)), 10, 64)
		if err != nil || usage < said-said/4 || usage > said+said/4 {
			t.Errorf("the pod uses %d bytes, %s says %d: %v", usage, path, said, err)
		}
		return
	}
	t.Error("the pod has no group")
}

func testMetricsEndpoints(t *testing.T, c *podCluster) {
	p := boxPod("probed", "http", ":8080")
	p.Spec.Containers[0].LivenessProbe = &corev1.Probe{ProbeHandler: getProbe("/healthz", 8080), PeriodSeconds: 1}
	c.Create(t, p)
	c.AwaitReady(t, "probed")
	labels := fmt.Sprintf(`container="probed",namespace="%s",pod="probed"`, c.Namespace)
	for path, want := range map[string][]string{
		"/metrics/resource": {
			`container_memory_working_set_bytes{` + labels + `} `, `container_cpu_usage_seconds_total{` + labels + `} `,
			`container_start_time_seconds{` + labels + `} `, `pod_memory_working_set_bytes{namespace="` + c.Namespace + `",pod="probed"} `,
			"node_cpu_usage_seconds_total ", "resource_scrape_error 0",
		},
		"/metrics/cadvisor": {
			`container_memory_working_set_bytes{container="probed",id="/`, `,image="` + testImage + `",name="`, `container_cpu_usage_seconds_total{container="probed",cpu="total"`,
			`container_network_receive_bytes_total{container="",id="/`, `interface="eth0"`, `container_fs_usage_bytes{container="probed",device="`,
			"machine_memory_bytes ", "container_scrape_error 0", `container_memory_usage_bytes{container="",id="/",image="",name="",namespace="",pod=""}`,
		},
		"/metrics/probes": {`prober_probe_total{container="probed",namespace="` + c.Namespace + `",pod="probed"`, `probe_type="Liveness",result="successful"`},
		"/metrics": {
			"kubelet_running_pods ", `kubelet_running_containers{container_state="running"} `, "process_start_time_seconds ", "go_goroutines ",
			`kubelet_runtime_operations_total{operation_type="run_podsandbox"} `, `kubelet_pod_worker_duration_seconds_count{operation_type="create"} `,
			`kubelet_started_containers_total{container_type="container"} `, "kubelet_pleg_relist_duration_seconds_count ", `kubelet_http_requests_total{`,
		},
	} {
		lab.Until(t, patience, "find all in "+path, func(ctx context.Context) error {
			data, err := c.Client.CoreV1().RESTClient().Get().AbsPath("/api/v1/nodes/" + c.Name + "/proxy" + path).DoRaw(ctx)
			for _, w := range want {
				if !strings.Contains(string(data), w) {
					return fmt.Errorf("there is no %s: %w", w, err)
				}
			}
			return nil
		})
	}
}

// testMetricsServer deploys metrics-server as it is released, and asks it.
func testMetricsServer(t *testing.T, c *podCluster) {
	image := c.extra(t, "metrics-server")
	dir := moduleDir(t, "metrics-server", "sigs.k8s.io/metrics-server")
	manifest := c.say(t, "kustomize", filepath.Join(dir, "manifests", "base"))
	manifest = strings.ReplaceAll(manifest, "gcr.io/k8s-staging-metrics-server/metrics-server:master", image)
	out := c.ctl(t, ctl{stdin: strings.NewReader(manifest), args: []string{"apply", "-n", "kube-system", "-f", "-"}})
	if out.Code != 0 {
		t.Fatalf("apply: %s%s", out.Stdout, out.Stderr)
	}
	c.Create(t, boxPod("box", "sleep", "infinity"))
	c.AwaitReady(t, "box")
	for _, args := range [][]string{{"top", "pod", "box", "--containers"}, {"top", "node"}} {
		lab.Until(t, 3*patience, "have an answer to "+strings.Join(args, " "), func(ctx context.Context) error {
			out, err := c.Try(ctx, append([]string{lab.Component(t, "bin/kubectl"), "-n", c.Namespace}, args...)...)
			if err == nil && (out.Code != 0 || !strings.Contains(out.Stdout, "Mi")) {
				err = fmt.Errorf("%s%s", out.Stdout, out.Stderr)
			}
			return err
		})
	}
}
