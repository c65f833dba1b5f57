package phases

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"boot.internal/config"
)

// uploadKubeadm stores the ClusterConfiguration where kubeadm looks for it when
// a node joins or is upgraded.
func uploadKubeadm(api apiServer, cluster *config.ClusterConfiguration) Phase {
	return PlanFunc(func(ctx context.Context) ([]Change, error) {
		data, err := cluster.Marshal()
		if err != nil {
			return nil, err
		}
		return api.planObjects(ctx, configMap("kubeadm-config", "kubeadm:nodes-kubeadm-config", "ClusterConfiguration", data)...)
	})
}

// uploadKubelet stores the KubeletConfiguration nodes start from.
func uploadKubelet(api apiServer, cfg *config.Init) Phase {
	return PlanFunc(func(ctx context.Context) ([]Change, error) {
		data, err := config.MarshalKubelet(&cfg.Kubelet)
		if err != nil {
			return nil, err
		}
		return api.planObjects(ctx, configMap("kubelet-config", "kubeadm:kubelet-config", "kubelet", data)...)
	})
}

// configMap returns a ConfigMap of one key that all nodes may read, also while
// they join.
func configMap(name, role, key string, data []byte) []runtime.Object {
	const namespace = metav1.NamespaceSystem
	return append([]runtime.Object{&corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Data:       map[string]string{key: string(data)},
	}}, readable(namespace, role, "configmaps", name, group(joiningNodes), group(nodes))...)
}
