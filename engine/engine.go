// Package engine finds the container engine of this host or runs the one that
// boot brings along, and gives it the images that came as files.
//
// It decides which socket is used, how boot's own containerd is configured for
// the host it finds itself on, and when that is started, adopted, replaced and
// stopped. Which containers run, and pulling images for them, is left to the
// kubelet loop, which speaks CRI with the socket this package names.
//
//	Find ──► Engine ──► Start ──► Run … (restarts it, adopts it)
//	                      └──► Import (archives → images)
package engine

import (
	"log/slog"
	"path/filepath"
	"time"
)

// A Mode says which engine may be used.
type Mode string

// The modes; the zero Mode is Auto.
const (
	Auto    Mode = "auto"    // one that answers, else boot's own
	Bundled Mode = "bundled" // always boot's own
	Socket  Mode = "socket"  // only one that is already there
)

// PauseImage is the image of every pod's sandbox. Boot's own engine never
// removes it.
const PauseImage = "registry.k8s.io/pause:3.10.2"

// Options say which engine is wanted and where boot's own keeps its things.
// The zero value of each field stands for the default named there.
type Options struct {
	// Socket is the CRI socket to use, as path or "unix://" URL, whatever else
	// is there. Empty looks for one.
	Socket string
	// Mode is Auto by default.
	Mode Mode
	// Dir is for what outlives a restart of the host: /var/lib/boot.
	Dir string
	// RunDir is for what does not: /run/boot. Sockets' names are limited to
	// 107 bytes, and shims have theirs below, so it must be short.
	RunDir string
	// CNIConfDir is where the pod network is configured: /etc/cni/net.d.
	CNIConfDir string
	// MirrorsDir says per registry which hosts to ask: /etc/containerd/certs.d.
	MirrorsDir string
	// CgroupDriver is by which means boot's own engine makes control groups,
	// "systemd" or "cgroupfs"; empty is what suits the host. Where systemd does not
	// run it is always the latter. Other engines have their own mind.
	CgroupDriver string
	// LogFile is the log of boot's own engine: /var/log/boot/containerd.log.
	LogFile string
	// Archive is the engine to unpack: that which is embedded in the binary.
	Archive Archive
	// StartTimeout is how long the engine may take until it answers, unpacking
	// included: 2 min.
	StartTimeout time.Duration
	// Log is told what happens to the engine: nobody.
	Log *slog.Logger

	wellKnown []string // sockets to look for; tests have their own
}

func (o Options) withDefaults() Options {
	set(&o.Mode, Auto)
	set(&o.Dir, "/var/lib/boot")
	set(&o.RunDir, "/run/boot")
	set(&o.CNIConfDir, "/etc/cni/net.d")
	set(&o.MirrorsDir, "/etc/containerd/certs.d")
	set(&o.LogFile, "/var/log/boot/containerd.log")
	set(&o.Archive, Archive(embedded{}))
	set(&o.StartTimeout, 2*time.Minute)
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.wellKnown == nil {
		o.wellKnown = []string{"/run/containerd/containerd.sock", "/run/crio/crio.sock"}
	}
	return o
}

func set[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// ImagesDir is where image archives are looked for.
func (o Options) ImagesDir() string { return filepath.Join(o.withDefaults().Dir, "images") }

// An Engine is the container engine that this host uses.
type Engine struct {
	o      Options
	socket string // path
	own    bool   // boot runs it
}

// Endpoint is the engine's CRI socket as the "unix://" URL that configurations
// hold.
func (e *Engine) Endpoint() string { return "unix://" + e.socket }

// Own reports whether boot runs this engine itself.
func (e *Engine) Own() bool { return e.own }

func (o Options) socketPath() string { return filepath.Join(o.RunDir, "containerd.sock") }

func (o Options) root() string { return filepath.Join(o.Dir, "containerd") }

func (o Options) configPath() string { return filepath.Join(o.root(), "config.toml") }

func (o Options) recordPath() string { return filepath.Join(o.RunDir, "containerd.json") }
