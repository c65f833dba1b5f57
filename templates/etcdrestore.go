package templates

import (
	"fmt"
	"path"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
)

// EtcdRestoreName is the static pod that makes etcd's data of a snapshot, and ends.
const EtcdRestoreName = "etcd-restore"

// EtcdRestoration is what [EtcdRestore] is told.
type EtcdRestoration struct {
	Image    string // etcd's, which has etcdutl as well: it makes data as its etcd reads it
	Member   string // name of the one member that there will be
	PeerURL  string // where others will reach it
	Token    string // makes the cluster another one than before, which no old member can talk to
	Snapshot string // file on the host
	Dir      string // directory on the host in which the data is made
	Out      string // name in Dir of the data directory to make
	Bump     int64  // by how much revisions rise
}

// EtcdRestore returns the static pod that makes a data directory of a snapshot, for
// a new cluster of one member. Those who watch find all they have seen compacted,
// and look at everything anew.
func EtcdRestore(r EtcdRestoration) (Manifest, error) {
	mounts, volumes := []corev1.VolumeMount{
		{Name: "snapshot", MountPath: "/snapshot.db", ReadOnly: true}, {Name: "restore", MountPath: "/restore"},
	}, []corev1.Volume{
		hostPath("snapshot", r.Snapshot, corev1.HostPathFile), hostPath("restore", r.Dir, corev1.HostPathDirectory),
	}
	p := corev1.Pod{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"},
		ObjectMeta: metav1.ObjectMeta{Name: EtcdRestoreName, Namespace: metav1.NamespaceSystem, Labels: map[string]string{"component": EtcdRestoreName}},
		Spec: corev1.PodSpec{
			HostNetwork: true, RestartPolicy: corev1.RestartPolicyNever, PriorityClassName: "system-node-critical",
			TerminationGracePeriodSeconds: ptr.To[int64](5),
			Containers: []corev1.Container{{
				Name: EtcdRestoreName, Image: r.Image, ImagePullPolicy: corev1.PullIfNotPresent, VolumeMounts: mounts,
				Command: []string{
					"etcdutl", "snapshot", "restore", "/snapshot.db", "--data-dir=" + path.Join("/restore", r.Out),
					"--name=" + r.Member, "--initial-cluster=" + r.Member + "=" + r.PeerURL, "--initial-advertise-peer-urls=" + r.PeerURL,
					"--initial-cluster-token=" + r.Token, "--bump-revision=" + strconv.FormatInt(r.Bump, 10), "--mark-compacted",
				},
			}},
			Volumes: volumes,
		},
	}
	data, err := encode(p)
	if err != nil {
		return Manifest{}, fmt.Errorf("encode manifest of %s: %w", EtcdRestoreName, err)
	}
	return Manifest{Component: EtcdRestoreName, File: EtcdRestoreName + ".yaml", Data: data}, nil
}

func hostPath(name, path string, kind corev1.HostPathType) corev1.Volume {
	return corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: path, Type: &kind}}}
}
