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
	// Log is about the log of the loop, where no service manager keeps it.
	Log LogConfiguration `json:"log"`
}

// LogConfiguration bounds the log files of the loop.
type LogConfiguration struct {
	// MaxSizeMB is the size in megabytes at which a file is rotated.
	MaxSizeMB int `json:"maxSizeMB,omitempty"`
	// MaxFiles is how many rotated files are kept.
	MaxFiles int `json:"maxFiles,omitempty"`
}

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
	// NetworkBridge is boot's own pod network.
	NetworkBridge NetworkMode = "bridge"
	// NetworkNone leaves the pod network to the user.
	NetworkNone NetworkMode = "none"
)
