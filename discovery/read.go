package discovery

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/version"
	"k8s.io/client-go/kubernetes"

	"boot.internal/config"
)

// read asks the cluster for what the node needs, and whether it may come.
func (c *Cluster) read(ctx context.Context, o Options) error {
	conf, err := c.Config()
	if err != nil {
		return err
	}
	api, err := kubernetes.NewForConfig(conf)
	if err != nil {
		return fmt.Errorf("use the access to %s: %w", c.Server, err)
	}
	r := reader{api, c.Server, c.Joined}
	var docs config.SharedDocuments
	if docs.Cluster, err = r.document(ctx, "kubeadm-config", "ClusterConfiguration"); err != nil {
		return err
	}
	if docs.Kubelet, err = r.document(ctx, "kubelet-config", "kubelet"); err != nil {
		return err
	}
	if err := r.own(ctx, &docs); err != nil {
		return err
	}
	shared, err := config.DecodeShared(docs)
	if err != nil {
		return fail(ErrNotJoinable, err.Error(), "a newer or older boot may understand it")
	}
	c.Shared = *shared
	if err := fits(config.DefaultKubernetesVersion, shared.Cluster.KubernetesVersion); err != nil || c.Joined {
		return err
	}
	return r.free(ctx, o.Config.Join.NodeRegistration.Name)
}

// A reader reads with the rights of one who joins.
type reader struct {
	api    kubernetes.Interface
	server string
	joined bool // as a node, not as the bearer of a token
}

// configMap returns a ConfigMap of kube-system, nil if there is none that a node
// may see.
func (r reader) configMap(ctx context.Context, name string) (*corev1.ConfigMap, error) {
	return until(ctx, func(ctx context.Context) (*corev1.ConfigMap, error) {
		m, err := r.api.CoreV1().ConfigMaps(metav1.NamespaceSystem).Get(ctx, name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) || apierrors.IsForbidden(err) {
			return nil, nil
		}
		return m, r.refused("read ConfigMap kube-system/"+name, err)
	})
}

// document returns one document of a ConfigMap without which no node can join.
func (r reader) document(ctx context.Context, name, key string) (string, error) {
	m, err := r.configMap(ctx, name)
	if err != nil {
		return "", err
	}
	if m == nil || m.Data[key] == "" {
		return "", fail(ErrNotJoinable, fmt.Sprintf("the cluster at %s has no %s in the ConfigMap kube-system/%s that a joining node may read", r.server, key, name),
			"'boot init phase upload-config' on a control plane puts it there")
	}
	return m.Data[key], nil
}

// own reads what only boot stores.
func (r reader) own(ctx context.Context, docs *config.SharedDocuments) error {
	m, err := r.configMap(ctx, config.BootConfigMap)
	if err != nil || m == nil {
		return err
	}
	docs.KubeProxy, docs.Boot = m.Data[config.BootConfigMapProxy], m.Data[config.BootConfigMapBoot]
	return nil
}

// refused makes of the API server's error what the user can understand.
func (r reader) refused(what string, err error) error {
	switch {
	case err == nil:
		return nil
	case apierrors.IsUnauthorized(err) && r.joined:
		return fail(ErrMember, fmt.Sprintf("the cluster at %s does not accept the certificate of this node", r.server), resetFirst)
	case apierrors.IsUnauthorized(err):
		return fail(ErrToken, fmt.Sprintf("the cluster at %s does not accept the token: it has expired or is wrong", r.server),
			"make a new one on a control plane: boot token create --print-join-command")
	case apierrors.IsForbidden(err):
		return fail(ErrToken, fmt.Sprintf("%s: the token has no right to join nodes: %v", what, err),
			"make one that has on a control plane: boot token create --print-join-command")
	}
	if status := apierrors.APIStatus(nil); errors.As(err, &status) {
		return passing{fail(ErrNotJoinable, what+": "+err.Error(), "check that the control plane is well")}
	}
	return unreached(r.server, err)
}

// free tells whether the name of the node is. A node that is not Ready may be the
// one that this one replaces: whoever holds a token may say so.
func (r reader) free(ctx context.Context, name string) error {
	node, err := until(ctx, func(ctx context.Context) (*corev1.Node, error) {
		n, err := r.api.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil, nil
		}
		return n, r.refused("look for node "+name, err)
	})
	if err != nil || node == nil {
		return err
	}
	for _, c := range node.Status.Conditions {
		if c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue {
			return fail(ErrNameTaken, "the cluster has a node "+name+", and it is Ready",
				"give this one another name with --node-name, or take the other out: kubectl delete node "+name)
		}
	}
	return nil
}

// oldestNode is how many minor versions the node may be older than the API server.
const oldestNode = 3

// fits tells whether a node of this version may join a control plane of that. As
// with init, the node may be one minor version ahead.
func fits(node, cluster string) error {
	n, err := version.ParseSemantic(node)
	if err != nil {
		return fmt.Errorf("read own version: %w", err)
	}
	c, err := version.ParseSemantic(cluster)
	if err != nil {
		return fail(ErrVersion, fmt.Sprintf("the cluster says its version is %q: %v", cluster, err), "")
	}
	ahead := int(n.Minor()) - int(c.Minor())
	if n.Major() == c.Major() && -oldestNode <= ahead && ahead <= 1 {
		return nil
	}
	hint := "upgrade the cluster first, or use an older boot"
	if ahead < 0 {
		hint = "use a newer boot"
	}
	return fail(ErrVersion, fmt.Sprintf("this boot is of Kubernetes %s and the cluster of %s: too far apart for a node", node, cluster), hint)
}
