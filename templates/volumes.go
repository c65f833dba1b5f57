package templates

import (
	"path"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"boot.internal/config"
)

// caCertsDir is where programs look for the certificates of authorities.
const caCertsDir = "/etc/ssl/certs"

// A mount brings one path of the host into the container, at the same place
// unless the user wants another.
type mount = config.HostPathMount

// readOnly mounts a file or directory for reading.
func readOnly(name, path string, kind corev1.HostPathType) mount {
	return mount{Name: name, HostPath: path, MountPath: path, ReadOnly: true, PathType: kind}
}

// caMounts mounts the directories with certificates of public authorities.
func caMounts(dirs []string) []mount {
	var out []mount
	for _, dir := range dirs {
		name := strings.ReplaceAll(strings.TrimPrefix(dir, "/"), "/", "-")
		if dir == caCertsDir {
			name = "ca-certs"
		}
		out = append(out, readOnly(name, dir, corev1.HostPathDirectoryOrCreate))
	}
	return out
}

// etcdMounts mounts the directories with the files that an external etcd is
// reached with, but for those that are mounted anyway.
func etcdMounts(etcd *config.ExternalEtcd, mounted []string) []mount {
	var dirs []string
	for _, file := range []string{etcd.CAFile, etcd.CertFile, etcd.KeyFile} {
		if dir := path.Dir(file); file != "" && !slices.ContainsFunc(mounted, func(m string) bool { return within(dir, m) }) {
			dirs = append(dirs, dir)
		}
	}
	slices.Sort(dirs)
	var out []mount
	for _, dir := range slices.Compact(dirs) {
		if len(out) > 0 && within(dir, out[len(out)-1].HostPath) {
			continue
		}
		out = append(out, readOnly("etcd-certs-"+strconv.Itoa(len(out)), dir, corev1.HostPathDirectoryOrCreate))
	}
	return out
}

func within(path, dir string) bool { return path == dir || strings.HasPrefix(path, dir+"/") }

// withMounts adds volumes and mounts to p, sorted by name. A mount of the user
// replaces boot's of the same name.
func (p pod) withMounts(own, extra []mount) pod {
	all := slices.DeleteFunc(slices.Clone(own), func(m mount) bool {
		return slices.ContainsFunc(extra, func(e mount) bool { return e.Name == m.Name })
	})
	all = append(all, extra...)
	slices.SortStableFunc(all, func(a, b mount) int { return strings.Compare(a.Name, b.Name) })
	for _, m := range all {
		p.Mounts = append(p.Mounts, corev1.VolumeMount{Name: m.Name, MountPath: m.MountPath, ReadOnly: m.ReadOnly})
		p.Volumes = append(p.Volumes, corev1.Volume{Name: m.Name, VolumeSource: corev1.VolumeSource{
			HostPath: &corev1.HostPathVolumeSource{Path: m.HostPath, Type: &m.PathType},
		}})
	}
	return p
}
