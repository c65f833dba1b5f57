package runtime

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
)

// Where hosts say how names are resolved, and where systemd-resolved says what it
// asks itself when the first names none but it.
const (
	hostResolvConf     = "/etc/resolv.conf"
	resolvedResolvConf = "/run/systemd/resolve/resolv.conf"
)

// resolvConf returns the content of the file that pods inherit, nil if they are
// to inherit none. A resolver on the host's own loopback is out of their reach, and
// a DNS server among them that passes on to it what it does not know asks itself:
// they get what that resolver asks (as kubeadm has it).
func (r *Runtime) resolvConf() ([]byte, error) {
	return resolvConfIn("/", r.o.ResolvConf)
}

// ResolvConf returns what pods of this host inherit where the kubelet is told to
// give them the file at a path.
func ResolvConf(path string) ([]byte, error) { return resolvConfIn("/", path) }

func resolvConfIn(root, path string) ([]byte, error) {
	if path == "" {
		return nil, nil
	}
	data, err := readIfThere(filepath.Join(root, path))
	if err != nil || path != hostResolvConf || !onlyLoopback(data) {
		return data, err
	}
	behind, err := readIfThere(filepath.Join(root, resolvedResolvConf))
	if err != nil || len(behind) == 0 {
		return data, err
	}
	return behind, nil
}

// readIfThere reads a file. A missing one is an empty one.
func readIfThere(path string) ([]byte, error) {
	data, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read resolver configuration: %w", err)
	}
	return append([]byte{}, data...), nil
}

// onlyLoopback reports whether a resolver configuration names servers, all of them
// on the host's loopback.
func onlyLoopback(data []byte) bool {
	found := false
	for line := range strings.Lines(string(data)) {
		f := strings.Fields(line)
		if len(f) < 2 || f[0] != "nameserver" {
			continue
		}
		server, err := netip.ParseAddr(f[1])
		if err != nil || !server.IsLoopback() {
			return false
		}
		found = true
	}
	return found
}
