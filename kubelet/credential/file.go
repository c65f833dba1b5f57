package credential

import (
	"os"
	"path/filepath"
)

// Files are where the node's own logins may lie.
type Files struct {
	Root string // the kubelet's own directory: /var/lib/kubelet
	Home string // of the user the kubelet runs as; "" for none
}

// read returns the logins of the first file there is: config.json before the
// older .dockercfg, the kubelet's own before those of its user. They are read
// each time: a pull takes longer, and who changes a file means it.
func (f Files) read() logins {
	home, wd := f.Home, ""
	if dir, err := os.Getwd(); err == nil {
		wd = dir
	}
	docker := ""
	if home != "" {
		docker = filepath.Join(home, ".docker")
	}
	for _, dir := range []string{f.Root, wd, docker, "/.docker"} {
		if all, ok := readFile(dir, "config.json", readConfigJSON); ok {
			return all
		}
	}
	for _, dir := range []string{f.Root, wd, home, "/"} {
		if all, ok := readFile(dir, ".dockercfg", readDockercfg); ok {
			return all
		}
	}
	return nil
}

// readFile reads one file. One that makes no sense is as good as none.
func readFile(dir, name string, read func([]byte) (logins, error)) (logins, bool) {
	if dir == "" {
		return nil, false
	}
	data, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		return nil, false
	}
	all, err := read(data)
	return all, err == nil
}
