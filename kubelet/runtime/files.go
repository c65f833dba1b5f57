package runtime

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	v1 "k8s.io/api/core/v1"

	"boot.internal/kubelet/pod"
	"boot.internal/kubelet/spec"
)

// attempt returns the restart count of the next instance: what the plan knows
// from the runtime, else one more than the log files tell of (SP-43).
func (r *Runtime) attempt(p *v1.Pod, a pod.StartContainer) uint32 {
	if a.Attempt > 0 {
		return a.Attempt
	}
	last, ok := lastLog(filepath.Join(spec.LogDir(r.o.PodLogsDir, p), a.Name))
	if !ok {
		return 0
	}
	return last + 1
}

// lastLog returns the highest N for which there is an N.log.
func lastLog(dir string) (last uint32, ok bool) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return 0, false
	}
	for _, e := range entries {
		name, _, isLog := strings.Cut(e.Name(), ".log") // rotated ones have a suffix
		n, err := strconv.ParseUint(name, 10, 32)
		if isLog && err == nil {
			last, ok = max(last, uint32(n)), true
		}
	}
	return last, ok
}

// podDir returns the directory of a pod on the node.
func (r *Runtime) podDir(uid string) string { return filepath.Join(r.o.PodsDir, uid) }

// writeHosts makes the file that is to be /etc/hosts in the containers of p and
// returns its path, or "" where the runtime's will do.
func (r *Runtime) writeHosts(p *v1.Pod, ips []string) (string, error) {
	var nodeHosts []byte
	if pod.IsHostNetwork(p) && len(p.Spec.HostAliases) > 0 {
		var err error
		if nodeHosts, err = os.ReadFile("/etc/hosts"); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("read hosts of the node: %w", err)
		}
	}
	data, err := spec.Hosts(p, r.o.Node(), ips, nodeHosts)
	if err != nil || data == nil {
		return "", err
	}
	path := filepath.Join(r.podDir(string(p.UID)), "etc-hosts")
	if have, err := os.ReadFile(path); err == nil && string(have) == string(data) {
		return path, nil
	}
	// Not synced: no container outlives a power cut, and what a killed boot left
	// half-written is seen to differ before it is used.
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return "", fmt.Errorf("write hosts: %w", err)
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		return "", fmt.Errorf("write hosts: %w", err)
	}
	return path, nil
}

// terminationLog returns where an instance's termination message goes.
func (r *Runtime) terminationLog(uid, name string, attempt uint32) string {
	return filepath.Join(r.podDir(uid), "containers", name, strconv.FormatUint(uint64(attempt), 10))
}

// makeTerminationLog makes that file, empty, for whatever user the container
// runs as.
func makeTerminationLog(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return fmt.Errorf("make termination log: %w", err)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o666)
	if err != nil {
		return fmt.Errorf("make termination log: %w", err)
	}
	// The process's umask took bits away.
	if err := errors.Join(f.Chmod(0o666), f.Close()); err != nil {
		return fmt.Errorf("make termination log: %w", err)
	}
	return nil
}

// makeLogDir makes the directory of a container's logs.
func (r *Runtime) makeLogDir(p *v1.Pod, name string) error {
	dir := spec.LogDir(r.o.PodLogsDir, p)
	if err := os.MkdirAll(filepath.Join(dir, name), 0o755); err != nil {
		return fmt.Errorf("make log directory: %w", err)
	}
	return nil
}

// logLink returns the flat name under which log shippers find a container's log.
func (r *Runtime) logLink(namespace, podName, name, id string) string {
	const maxName = 255 // of a file
	const suffix = ".log"
	base := fmt.Sprintf("%s_%s_%s-%s", podName, namespace, name, id)
	return filepath.Join(r.o.ContainerLogsDir, base[:min(len(base), maxName-len(suffix))]+suffix)
}

// linkLog makes the link of a new instance.
func (r *Runtime) linkLog(p *v1.Pod, name, id, log string) error {
	if r.o.ContainerLogsDir == "" {
		return nil
	}
	if err := os.MkdirAll(r.o.ContainerLogsDir, 0o755); err != nil {
		return fmt.Errorf("link log: %w", err)
	}
	err := os.Symlink(log, r.logLink(p.Namespace, p.Name, name, id))
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("link log: %w", err)
	}
	return nil
}

// removeFile removes what may be gone already.
func removeFile(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
