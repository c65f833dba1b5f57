package phases

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	"boot.internal/backup"
	"boot.internal/config"
	"boot.internal/etcd"
	"boot.internal/hint"
)

// RestoredNode is the node that a backup is restored to.
type RestoredNode struct {
	Name    string // empty: that of the backup
	Address string // empty: that of the backup, if the host has it, else the host's own
}

// RestoredConfig returns the configuration of a control plane that is made of an
// archive: that which the cluster stores, read out of the snapshot of etcd, and the
// node's own. Same says that the node keeps its name and address.
func RestoredConfig(a *backup.Archive, node RestoredNode, host config.Host) (cfg *config.Init, same bool, err error) {
	oldAddress, port, err := net.SplitHostPort(a.Address)
	if err != nil {
		return nil, false, fmt.Errorf("read the address of the backup: %w", err)
	}
	name := node.Name
	if name == "" {
		name = a.Node
	}
	address := node.Address
	if address == "" && hasAddress(host, oldAddress) {
		address = oldAddress
	}
	if address == "" && len(host.Default) > 0 {
		address = host.Default[0].String()
	}
	documents, err := storedDocuments(a)
	if err != nil {
		return nil, false, err
	}
	own, err := ownDocument(a, name, address, port)
	if err != nil {
		return nil, false, err
	}
	cfg, err = config.LoadInit(config.InitOptions{Path: "backup of " + a.Node, Data: []byte(own + documents), Host: host})
	return cfg, name == a.Node && address == oldAddress, err
}

func hasAddress(host config.Host, address string) bool {
	for _, p := range host.Prefixes {
		if p.Addr().String() == address {
			return true
		}
	}
	return false
}

// The keys under which the API server keeps what the configuration is read from.
const (
	configMapKeys = "/registry/configmaps/" + metav1.NamespaceSystem + "/"
	nodeKeys      = "/registry/minions/"
)

// storedDocuments are those of the cluster.
func storedDocuments(a *backup.Archive) (string, error) {
	maps := map[string][]string{
		"kubeadm-config": {"ClusterConfiguration"}, "kubelet-config": {"kubelet"},
		config.BootConfigMap: {config.BootConfigMapBoot, config.BootConfigMapProxy},
	}
	var keys []string
	for name := range maps {
		keys = append(keys, configMapKeys+name)
	}
	values, err := etcd.SnapshotValues(a.Path(archivedEtcd), keys...)
	if err != nil {
		return "", err
	}
	var text strings.Builder
	for _, name := range []string{"kubeadm-config", "kubelet-config", config.BootConfigMap} {
		var m corev1.ConfigMap
		if err := decodeStored(values[configMapKeys+name], &m); err != nil {
			return "", fmt.Errorf("read ConfigMap kube-system/%s in the backup: %w", name, err)
		}
		for _, key := range maps[name] {
			if m.Data[key] != "" {
				text.WriteString("---\n" + strings.TrimSpace(m.Data[key]) + "\n")
			}
		}
	}
	return text.String(), nil
}

// stored are objects as the API server writes them.
type storedObject interface{ Unmarshal(data []byte) error }

// decodeStored decodes an object as it is in etcd: protobuf in an envelope, see
// k8s.io/apimachinery/pkg/runtime/serializer/protobuf.
func decodeStored(value []byte, into storedObject) error {
	raw, ok := bytes.CutPrefix(value, []byte("k8s\x00"))
	switch {
	case len(value) == 0:
		return errors.New("it is not there")
	case bytes.HasPrefix(value, []byte("k8s:enc:")):
		return hint.With(errors.New("it is encrypted"), "restore by hand: 'boot init' with the certificates of the archive, then 'boot etcd snapshot restore'")
	case !ok:
		return errors.New("it is not as the API server writes it")
	}
	var envelope runtime.Unknown
	if err := envelope.Unmarshal(raw); err != nil {
		return err
	}
	return into.Unmarshal(envelope.Raw)
}

// ownDocument is the InitConfiguration of the node to be. It has the taints of the
// node that was, as people have set them.
func ownDocument(a *backup.Archive, name, address, port string) (string, error) {
	values, err := etcd.SnapshotValues(a.Path(archivedEtcd), nodeKeys+a.Node)
	if err != nil {
		return "", err
	}
	registration := object{"name": name}
	var node corev1.Node
	if value := values[nodeKeys+a.Node]; value != nil {
		if err := decodeStored(value, &node); err != nil {
			return "", fmt.Errorf("read Node %s in the backup: %w", a.Node, err)
		}
		registration["taints"] = ownTaints(&node)
	}
	bind, err := strconv.Atoi(port)
	if err != nil {
		return "", fmt.Errorf("read the port of the backup: %w", err)
	}
	data, err := yaml.Marshal(object{
		"apiVersion": config.KubeadmAPIVersion, "kind": "InitConfiguration", "nodeRegistration": registration,
		"localAPIEndpoint": object{"advertiseAddress": address, "bindPort": bind},
	})
	return string(data), err
}

// ownTaints are those that no controller comes and goes with.
func ownTaints(node *corev1.Node) []corev1.Taint {
	taints := []corev1.Taint{}
	for _, t := range node.Spec.Taints {
		if !strings.HasPrefix(t.Key, "node.kubernetes.io/") && !strings.HasPrefix(t.Key, "node.cloudprovider.kubernetes.io/") {
			t.TimeAdded = nil
			taints = append(taints, t)
		}
	}
	return taints
}
