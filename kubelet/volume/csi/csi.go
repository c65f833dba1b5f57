// Package csi mounts volumes by drivers of the Container Storage Interface
// (https://github.com/container-storage-interface/spec): it takes in drivers
// that register on the node, has them stage and publish volumes, and take them
// back when the last pod that uses them is gone.
//
// It decides which calls a driver gets and in which order; which volume of a
// pod is meant, and when a pod is done with it, it leaves to kubelet/volume. All
// it must not forget is on disk where the upstream kubelet has it too, so that
// volumes of an earlier process, or of another agent, are taken back as well:
//
//	plugins/kubernetes.io/csi/DRIVER/SHA256(HANDLE)/vol_data.json
//	                                               /globalmount     staged
//	pods/UID/volumes/kubernetes.io~csi/NAME/vol_data.json
//	                                       /mount                   published
//	plugins/kubernetes.io/csi/volumeDevices/NAME/data/vol_data.json
//	plugins/kubernetes.io/csi/volumeDevices/staging/NAME            staged, block
//	plugins/kubernetes.io/csi/volumeDevices/publish/NAME/UID        published, block
//	pods/UID/volumeDevices/kubernetes.io~csi/NAME                   link to it
//
// A driver that hangs holds up those volumes alone that it is asked for.
package csi

import (
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"boot.internal/kubelet/volume/turn"
)

// Options are what Drivers are made of. All are required that do not say
// otherwise.
type Options struct {
	RootDir string // /var/lib/kubelet
	Node    string // name of this node
	// Client returns a client of the API, nil while there is none.
	Client func() kubernetes.Interface
	// NodeObject returns the Node as the API has it last, nil if it has none.
	NodeObject func() *v1.Node
	// InUse is told which volumes the node uses whenever that changes. It must
	// not block.
	InUse func([]v1.UniqueVolumeName)
	// Arrived is called when a driver has registered: what failed for want of it
	// may succeed. It must not block for long.
	Arrived func()
	// Event records what happened to a pod. It must not block.
	Event func(p *v1.Pod, eventType, reason, message string)
	Log   *slog.Logger
}

// Drivers are the drivers of the node. The methods may be called from several
// goroutines. They are the plugin.Handler of their type.
type Drivers struct {
	o     Options
	turns turn.Turns // by volume

	mu      sync.Mutex // guards what follows
	drivers map[string]driver
	users   map[v1.UniqueVolumeName]map[types.UID]bool
	wanted  map[string]map[types.UID]bool // pods by volume, named by its key
	changed chan struct{}                 // closed and replaced when the Node changes

	nodeMu sync.Mutex // one change to Node and CSINode at a time

	schedule *schedule
}

// A driver is one that has registered.
type driver struct {
	endpoint string // path of its socket
	version  string // the highest of its registration
}

// callTimeout bounds one call of a driver, and attachTimeout how long a volume
// may take to be attached. Both are upstream's.
const (
	callTimeout   = 2 * time.Minute
	attachTimeout = 2*time.Minute + 3*time.Second
)

// New returns Drivers that know of the volumes that are staged and published
// already.
func New(o Options) *Drivers {
	d := &Drivers{
		o: o, drivers: map[string]driver{},
		users: map[v1.UniqueVolumeName]map[types.UID]bool{}, wanted: map[string]map[types.UID]bool{},
		changed: make(chan struct{}),
	}
	d.schedule = newSchedule(d.renew)
	d.restore()
	return d
}

// NodeChanged is to be called when the Node object has changed.
func (d *Drivers) NodeChanged() {
	d.mu.Lock()
	defer d.mu.Unlock()
	close(d.changed)
	d.changed = make(chan struct{})
}

func (d *Drivers) podsDir() string { return filepath.Join(d.o.RootDir, "pods") }

func (d *Drivers) pluginDir() string {
	return filepath.Join(d.o.RootDir, "plugins", "kubernetes.io", "csi")
}
