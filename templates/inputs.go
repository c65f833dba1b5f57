package templates

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	kubeproxyv1alpha1 "k8s.io/kube-proxy/config/v1alpha1"
)

// Inputs is what static pods depend on beside the configuration.
type Inputs struct {
	// CACertDirs are the directories of this host with certificates of public
	// authorities, see [CACertDirs].
	CACertDirs []string
	// ProxyEnv are the variables that tell programs about an HTTP proxy, see
	// [ProxyEnv].
	ProxyEnv []corev1.EnvVar
	// ExternalCA says that the key of the cluster's authority is not on this
	// host, so that the controller manager can not sign.
	ExternalCA bool
	// SigningCert is the file of the certificate that the controller manager signs
	// with, which holds no other. Empty stands for that of the cluster's authority.
	SigningCert string
	// EtcdCluster are the members of the etcd cluster that a joining node's etcd
	// becomes one of, itself among them, as "name=peer URL" separated by commas.
	// Empty stands for the first member of a new cluster.
	EtcdCluster string
	// CertsHash is the [Hash] of the files that [ReadOnce] names, by component.
	CertsHash map[string]string
	// Patches are those of the user.
	Patches Patches
	// ProxyMode is what the kernel and the tools of this host can do.
	ProxyMode kubeproxyv1alpha1.ProxyMode
	// NestedNetwork says that the network namespace is not the host's first:
	// then the connection tracking table is not kube-proxy's to size.
	NestedNetwork bool
}

// CACertDirs returns those of the well-known directories that exist. Files in
// /etc/ssl/certs are often links into the others.
func CACertDirs(exists func(dir string) bool) []string {
	return slices.DeleteFunc([]string{
		caCertsDir,
		"/etc/ca-certificates",
		"/etc/pki/ca-trust",
		"/etc/pki/tls/certs",
		"/usr/local/share/ca-certificates",
		"/usr/share/ca-certificates",
	}, func(dir string) bool { return !exists(dir) })
}

// ProxyEnv picks the variables about an HTTP proxy from an environment such as
// os.Environ returns.
func ProxyEnv(environ []string) []corev1.EnvVar {
	var out []corev1.EnvVar
	for _, e := range environ {
		name, value, _ := strings.Cut(e, "=")
		if value != "" && strings.HasSuffix(strings.ToLower(name), "_proxy") {
			out = append(out, corev1.EnvVar{Name: name, Value: value})
		}
	}
	return out
}

// mergeEnv returns all variables by name; of several with one name the last
// wins.
func mergeEnv(lists ...[]corev1.EnvVar) []corev1.EnvVar {
	var out []corev1.EnvVar
	for _, e := range slices.Concat(lists...) {
		out = slices.DeleteFunc(out, func(old corev1.EnvVar) bool { return old.Name == e.Name })
		out = append(out, e)
	}
	slices.SortFunc(out, func(a, b corev1.EnvVar) int { return strings.Compare(a.Name, b.Name) })
	return out
}
