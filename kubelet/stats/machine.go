package stats

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sys/unix"
)

// machine sends what the machine has.
func machine(to chan<- prometheus.Metric, memory int64) {
	cores, sockets := cpus()
	var info unix.Sysinfo_t
	_ = unix.Sysinfo(&info) // never fails
	for _, g := range []struct {
		name, help string
		value      float64
	}{
		{"machine_cpu_cores", "Number of logical CPU cores.", float64(runtime.NumCPU())},
		{"machine_cpu_physical_cores", "Number of physical CPU cores.", float64(cores)},
		{"machine_cpu_sockets", "Number of CPU sockets.", float64(sockets)},
		{"machine_memory_bytes", "Amount of memory installed on the machine.", float64(memory)},
		{"machine_swap_bytes", "Amount of swap memory available on the machine.", float64(info.Totalswap) * float64(info.Unit)},
		{"machine_scrape_error", "1 if there was an error while getting machine metrics, 0 otherwise.", 0},
	} {
		to <- prometheus.MustNewConstMetric(prometheus.NewDesc(g.name, g.help, nil, nil), prometheus.GaugeValue, g.value)
	}
}

// cpus counts cores and sockets, as the kernel lays them out.
func cpus() (cores, sockets int) {
	all, packages := map[string]bool{}, map[string]bool{}
	dirs, _ := filepath.Glob("/sys/devices/system/cpu/cpu[0-9]*/topology") // the pattern is good
	for _, dir := range dirs {
		socket, core := line(dir, "physical_package_id"), line(dir, "core_id")
		packages[socket], all[socket+"/"+core] = true, true
	}
	return len(all), len(packages)
}

func line(dir, file string) string {
	data, _ := os.ReadFile(filepath.Join(dir, file)) // not told, all the same
	return strings.TrimSpace(string(data))
}

// device returns the device that a directory is on: /dev/sda1.
func device(dir string) string {
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err != nil {
		return ""
	}
	return blockDevice(uint64(unix.Major(st.Dev)), uint64(unix.Minor(st.Dev)))
}

// blockDevice returns the path of a block device by its numbers, or these where
// it is none.
func blockDevice(major, minor uint64) string {
	link, err := os.Readlink(fmt.Sprintf("/sys/dev/block/%d:%d", major, minor))
	if err != nil {
		return fmt.Sprintf("%d:%d", major, minor)
	}
	return "/dev/" + filepath.Base(link)
}
