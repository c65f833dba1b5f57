package config

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// BootConfiguration is boot's own document: what kubeadm has no word for.
type BootConfiguration struct {
	metav1.TypeMeta `json:",inline"`

	// Engine says which container engine to use.
	Engine EngineMode `json:"engine,omitempty"`
	// ImagesDir holds image archives that are imported before anything is
	// pulled.
	ImagesDir string `json:"imagesDir,omitempty"`
	// Network says who connects the pods.
	Network NetworkMode `json:"network,omitempty"`
	// Flannel is about the network of that name.
	Flannel FlannelConfiguration `json:"flannel"`
	// APIServers are API servers, "host:port", that the node can reach the cluster
	// by. If there are any, kubelet and kube-proxy use whichever lives, through a
	// port on loopback, see [LocalAPI]; the node learns of the others by itself.
	// "boot init" and "boot join" name the first one.
	APIServers []string `json:"apiServers,omitempty"`
	// Log is about the log of the loop, where no service manager keeps it.
	Log LogConfiguration `json:"log"`
	// CertificateRenewal says whether the loop renews the certificates of the node
	// that it has the keys for; empty is auto. Its own it renews in any case, as
	// rotateCertificates of the kubelet says.
	CertificateRenewal RenewalMode `json:"certificateRenewal,omitempty"`
	// Snapshots says when a control plane saves the data of etcd by itself.
	Snapshots SnapshotConfiguration `json:"snapshots"`
}

// SnapshotConfiguration says when a node with an etcd saves the data of the
// cluster to its own disk, and how much of that it keeps.
type SnapshotConfiguration struct {
	// Every is the time from one snapshot to the next, twelve hours by default;
	// zero takes none.
	Every *metav1.Duration `json:"every,omitempty"`
	// Keep is how many of them are kept, five by default. Those that somebody
	// asked for do not count, and stay.
	Keep int `json:"keep,omitempty"`
}

// A RenewalMode says who renews the certificates of a node.
type RenewalMode string

const (
	// RenewalAuto has the loop renew them when a third of their life is left.
	RenewalAuto RenewalMode = "auto"
	// RenewalOff leaves them to the user. The loop only tells when they end.
	RenewalOff RenewalMode = "off"
)

// LogConfiguration bounds the log files of the loop.
type LogConfiguration struct {
	// MaxSizeMB is the size in megabytes at which a file is rotated.
	MaxSizeMB int `json:"maxSizeMB,omitempty"`
	// MaxFiles is how many rotated files are kept.
	MaxFiles int `json:"maxFiles,omitempty"`
}

// FlannelConfiguration says how nodes are connected. It counts when a cluster is
// made; nodes that join find out.
type FlannelConfiguration struct {
	// Backend is how packets get from node to node.
	Backend FlannelBackend `json:"backend,omitempty"`
}

// A FlannelBackend is how packets get from node to node.
type FlannelBackend string

const (
	// FlannelVXLAN puts them in a tunnel, and so works over any network.
	FlannelVXLAN FlannelBackend = "vxlan"
	// FlannelHostGW routes them as they are; all nodes must be on one link.
	FlannelHostGW FlannelBackend = "host-gw"
)

// An EngineMode says which container engine runs the pods.
type EngineMode string

const (
	// EngineAuto uses a socket that answers and else the bundled engine.
	EngineAuto EngineMode = "auto"
	// EngineBundled always uses the engine that boot brings along.
	EngineBundled EngineMode = "bundled"
	// EngineSocket only uses an engine that is already there.
	EngineSocket EngineMode = "socket"
)

// A NetworkMode says who connects the pods.
type NetworkMode string

const (
	// NetworkFlannel connects the pods of all nodes.
	NetworkFlannel NetworkMode = "flannel"
	// NetworkBridge connects the pods of each node with each other alone.
	NetworkBridge NetworkMode = "bridge"
	// NetworkNone leaves the pod network to the user.
	NetworkNone NetworkMode = "none"
)
