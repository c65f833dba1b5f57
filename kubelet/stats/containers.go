package stats

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	statsapi "k8s.io/kubelet/pkg/apis/stats/v1alpha1"

	"boot.internal/kubelet/cgroup"
)

// Containers collects all there is of control groups, under the names and with
// the labels that dashboards know from cAdvisor. A pod's own group has no
// container and no name; its sandbox has a name, and the network.
func Containers(from Source) prometheus.Collector { return containers{from} }

type containers struct{ from Source }

const (
	fsUsageHelp = "Number of bytes that are consumed by the container on this filesystem."
	fsLimitHelp = "Number of bytes that can be consumed by the container on this filesystem."
)

// Describe says nothing: what there is depends on what runs.
func (containers) Describe(chan<- *prometheus.Desc) {}

// Collect measures.
func (c containers) Collect(to chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), scrapeWithin)
	defer cancel()
	s := &scrape{to: to}
	err := c.collect(ctx, s)
	failed := 0.0
	if err != nil {
		failed = 1
	}
	to <- prometheus.MustNewConstMetric(prometheus.NewDesc("container_scrape_error", "1 if there was an error while getting container metrics, 0 otherwise", nil, nil),
		prometheus.GaugeValue, failed)
}

func (c containers) collect(ctx context.Context, s *scrape) error {
	m, err := c.from()
	if err != nil {
		return err
	}
	sample, err := m.sample(ctx)
	if err != nil {
		return err
	}
	s.m, s.at = m, sample.at
	if s.layers, err = m.layers(ctx); err != nil {
		return err
	}
	root, fs, err := m.fileSystems(ctx)
	if err != nil {
		return err
	}
	s.device, s.capacity = device(m.o.RootDir), float64(*fs.ContainerFs.CapacityBytes)
	machine(s.to, m.o.Memory)
	s.group(subject{id: m.o.Root}, sample.node, m.o.Started)
	s.network(subject{id: m.o.Root}, interfaces("/proc/self/net/dev"))
	s.fileSystem(subject{id: m.o.Root}, root)
	if !sample.allPods.Time.IsZero() {
		s.group(subject{id: m.o.AllPods}, sample.allPods, m.o.Started)
	}
	for _, p := range sample.pods {
		s.pod(p)
	}
	return nil
}

// A subject is whom figures are of.
type subject struct{ id, name, image, container, pod, namespace string }

// labels of all figures; their order is that of subject.values.
func labels(more ...string) []string {
	return append([]string{"id", "name", "image", "container", "pod", "namespace"}, more...)
}

func (s subject) values(more ...string) []string {
	return append([]string{s.id, s.name, s.image, s.container, s.pod, s.namespace}, more...)
}

// A scrape is one answer while it is made.
type scrape struct {
	to       chan<- prometheus.Metric
	m        *Meter
	at       time.Time
	layers   map[string]filled
	device   string
	capacity float64
}

func (s *scrape) pod(p podSample) {
	of := subject{id: p.group, pod: p.key.Name, namespace: p.key.Namespace}
	if p.used != nil {
		s.group(of, *p.used, p.started)
	}
	if p.sandbox.used != nil {
		sandbox := of
		sandbox.id, sandbox.name = p.sandbox.group, p.sandbox.id
		s.group(sandbox, *p.sandbox.used, p.started)
		if pids := s.m.o.Groups.Processes(p.sandbox.group); len(pids) > 0 && !sharesNetwork(pids[0]) {
			s.network(sandbox, interfaces(filepath.Join("/proc", strconv.Itoa(pids[0]), "net/dev")))
		}
	}
	for _, c := range p.containers {
		one := of
		one.id, one.name, one.image, one.container = c.group, c.id, c.image, c.name
		if c.used != nil {
			s.group(one, *c.used, c.started)
		}
		if l, ok := s.layers[c.id]; ok {
			s.gauge("container_fs_usage_bytes", fsUsageHelp, one, float64(l.bytes), "device", s.device)
			s.gauge("container_fs_limit_bytes", fsLimitHelp, one, s.capacity, "device", s.device)
		}
	}
}

// sharesNetwork reports whether a process is on the network of the node.
func sharesNetwork(pid int) bool {
	own, err := os.Readlink("/proc/self/ns/net")
	other, oerr := os.Readlink(filepath.Join("/proc", strconv.Itoa(pid), "ns/net"))
	return err == nil && oerr == nil && own == other
}

// group sends all that is known of a group.
func (s *scrape) group(of subject, u cgroup.Usage, started time.Time) {
	d := s.m.o.Groups.Detail(of.id)
	s.counter("container_cpu_usage_seconds_total", "Cumulative cpu time consumed in seconds.", of, u.CPU.Seconds(), "cpu", "total")
	s.counter("container_cpu_user_seconds_total", "Cumulative user cpu time consumed in seconds.", of, d.User.Seconds())
	s.counter("container_cpu_system_seconds_total", "Cumulative system cpu time consumed in seconds.", of, d.System.Seconds())
	s.memory(of, u.Memory, d)
	s.limits(of, u.Memory, d)
	s.pressure(of)
	s.gauge("container_threads", "Number of threads running inside the container", of, float64(d.Tasks))
	s.gauge("container_threads_max", "Maximum number of threads allowed inside the container, infinity if value is zero", of, float64(d.TaskLimit))
	s.counter("container_oom_events_total", "Count of out of memory events observed for the container", of, float64(d.OOMKills))
	s.gauge("container_start_time_seconds", "Start time of the container since unix epoch in seconds.", of, seconds(started.UnixNano()))
	s.gauge("container_last_seen", "Last time a container was seen by the exporter", of, float64(s.at.Unix()))
	if of.container != "" {
		s.processes(of)
	}
	for _, disk := range d.Disks {
		s.disk(of, disk)
	}
}

func (s *scrape) memory(of subject, m cgroup.Memory, d cgroup.Detail) {
	s.gauge("container_memory_usage_bytes", "Current memory usage in bytes, including all memory regardless of when it was accessed", of, float64(m.Usage))
	s.gauge("container_memory_working_set_bytes", "Current working set in bytes.", of, float64(m.WorkingSet))
	s.gauge("container_memory_rss", "Size of RSS in bytes.", of, float64(m.RSS))
	s.gauge("container_memory_cache", "Number of bytes of page cache memory.", of, float64(m.Cache))
	s.gauge("container_memory_swap", "Container swap usage in bytes.", of, float64(m.Swap))
	s.gauge("container_memory_mapped_file", "Size of memory mapped files in bytes.", of, float64(m.MappedFile))
	s.gauge("container_memory_kernel_usage", "Size of kernel memory allocated in bytes.", of, float64(m.Kernel))
	s.gauge("container_memory_total_active_file_bytes", "Current total active file in bytes.", of, float64(m.ActiveFile))
	s.gauge("container_memory_total_inactive_file_bytes", "Current total inactive file in bytes.", of, float64(m.InactiveFile))
	s.gauge("container_memory_max_usage_bytes", "Maximum memory usage recorded in bytes", of, float64(d.MemoryPeak))
	s.counter("container_memory_failcnt", "Number of memory usage hits limits", of, float64(d.MemoryFails))
	s.counter("container_memory_events_high_total", "Cumulative count of memory.high throttle events for the container", of, float64(d.MemoryHighs))
	s.counter("container_memory_events_max_total", "Cumulative count of memory.max limit hit events for the container", of, float64(d.MemoryMaxes))
	const help = "Cumulative count of memory allocation failures."
	s.counter("container_memory_failures_total", help, of, float64(m.Faults), "failure_type", "pgfault", "scope", "hierarchy")
	s.counter("container_memory_failures_total", help, of, float64(m.MajorFaults), "failure_type", "pgmajfault", "scope", "hierarchy")
}

func (s *scrape) limits(of subject, m cgroup.Memory, d cgroup.Detail) {
	s.gauge("container_spec_memory_limit_bytes", "Memory limit for the container.", of, float64(m.Limit))
	s.gauge("container_spec_memory_reservation_limit_bytes", "Memory reservation limit for the container.", of, float64(d.MemoryLow))
	s.gauge("container_spec_memory_swap_limit_bytes", "Memory swap limit for the container.", of, float64(m.SwapLimit))
	s.gauge("container_spec_cpu_shares", "CPU share of the container.", of, float64(d.Shares))
	s.gauge("container_spec_cpu_period", "CPU period of the container.", of, float64(d.Period.Microseconds()))
	if d.Quota == 0 {
		return
	}
	s.gauge("container_spec_cpu_quota", "CPU quota of the container.", of, float64(d.Quota.Microseconds()))
	s.counter("container_cpu_cfs_periods_total", "Number of elapsed enforcement period intervals.", of, float64(d.Periods))
	s.counter("container_cpu_cfs_throttled_periods_total", "Number of throttled period intervals.", of, float64(d.Throttled))
	s.counter("container_cpu_cfs_throttled_seconds_total", "Total time duration the container has been throttled.", of, d.ThrottledFor.Seconds())
}

func (s *scrape) processes(of subject) {
	pids := s.m.o.Groups.Processes(of.id)
	files, sockets := 0, 0
	for _, pid := range pids {
		f, n := descriptors(pid)
		files, sockets = files+f, sockets+n
	}
	s.gauge("container_processes", "Number of processes running inside the container.", of, float64(len(pids)))
	s.gauge("container_file_descriptors", "Number of open file descriptors for the container.", of, float64(files))
	s.gauge("container_sockets", "Number of open sockets for the container.", of, float64(sockets))
	if len(pids) == 0 {
		return
	}
	if limit, ok := openFiles(pids[0]); ok {
		s.gauge("container_ulimits_soft", "Soft ulimit values for the container root process. Unlimited if -1, except priority and nice", of, limit, "ulimit", "max_open_files")
	}
}

func (s *scrape) disk(of subject, d cgroup.Disk) {
	name := blockDevice(d.Major, d.Minor)
	s.counter("container_fs_reads_bytes_total", "Cumulative count of bytes read", of, float64(d.Read), "device", name)
	s.counter("container_fs_reads_total", "Cumulative count of reads completed", of, float64(d.Reads), "device", name)
	s.counter("container_fs_writes_bytes_total", "Cumulative count of bytes written", of, float64(d.Written), "device", name)
	s.counter("container_fs_writes_total", "Cumulative count of writes completed", of, float64(d.Writes), "device", name)
	for operation, bytes := range map[string]uint64{"Read": d.Read, "Write": d.Written} {
		s.counter("container_blkio_device_usage_total", "Blkio Device bytes usage", of, float64(bytes),
			"device", name, "major", strconv.FormatUint(d.Major, 10), "minor", strconv.FormatUint(d.Minor, 10), "operation", operation)
	}
}

// fileSystem sends how full the file system of the node is.
func (s *scrape) fileSystem(of subject, fs *statsapi.FsStats) {
	for _, f := range []struct {
		name, help string
		value      *uint64
	}{
		{"container_fs_usage_bytes", fsUsageHelp, fs.UsedBytes},
		{"container_fs_limit_bytes", fsLimitHelp, fs.CapacityBytes},
		{"container_fs_inodes_total", "Number of Inodes", fs.Inodes},
		{"container_fs_inodes_free", "Number of available Inodes", fs.InodesFree},
	} {
		if f.value != nil {
			s.gauge(f.name, f.help, of, float64(*f.value), "device", s.device)
		}
	}
}

func (s *scrape) network(of subject, all []Interface) {
	for _, i := range all {
		s.traffic("receive", "receiv", of, i.Name, i.Received)
		s.traffic("transmit", "transmitt", of, i.Name, i.Sent)
	}
}

// traffic sends what went one way; stem is that of the verb in its other forms.
func (s *scrape) traffic(way, stem string, of subject, name string, t Traffic) {
	prefix := "container_network_" + way + "_"
	s.counter(prefix+"bytes_total", "Cumulative count of bytes "+stem+"ed", of, float64(t.Bytes), "interface", name)
	s.counter(prefix+"packets_total", "Cumulative count of packets "+stem+"ed", of, float64(t.Packets), "interface", name)
	s.counter(prefix+"packets_dropped_total", "Cumulative count of packets dropped while "+stem+"ing", of, float64(t.Dropped), "interface", name)
	s.counter(prefix+"errors_total", "Cumulative count of errors encountered while "+stem+"ing", of, float64(t.Errors), "interface", name)
}

// gauge and counter send one figure; more are names and values of labels.
func (s *scrape) gauge(name, help string, of subject, v float64, more ...string) {
	s.send(figure{prometheus.GaugeValue, name, help}, of, v, more)
}

func (s *scrape) counter(name, help string, of subject, v float64, more ...string) {
	s.send(figure{prometheus.CounterValue, name, help}, of, v, more)
}

// A figure is what a number means.
type figure struct {
	kind       prometheus.ValueType
	name, help string
}

func (s *scrape) send(f figure, of subject, v float64, more []string) {
	var names, values []string
	for i := 0; i+1 < len(more); i += 2 {
		names, values = append(names, more[i]), append(values, more[i+1])
	}
	d := prometheus.NewDesc(f.name, f.help, labels(names...), nil)
	s.to <- prometheus.NewMetricWithTimestamp(s.at, prometheus.MustNewConstMetric(d, f.kind, v, of.values(values...)...))
}
