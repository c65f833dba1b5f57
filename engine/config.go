package engine

import (
	"bytes"
	_ "embed" // for the configuration's template
	"fmt"
	"path/filepath"
	"text/template"
)

//go:embed config.toml.tmpl
var configText string

// config is everything containerd is told. The template only spells it.
type config struct {
	Root, State, Temp string
	Socket            string
	ShimDir           string // sockets of shims, below RunDir
	RuncRoot          string
	BinDir            string
	CNIConfDir        string
	MirrorsDir        string
	PauseImage        string
	Snapshotter       string
	SystemdCgroup     bool
	RestrictOOM       bool
	OOMScore          int
	Disabled          []string
}

// unused are plugins that nothing here asks for. Without them containerd
// starts faster, makes no directories for them and looks for no tools.
func unused(snapshotter string) []string {
	disabled := []string{
		"io.containerd.differ.v1.erofs",
		"io.containerd.image-verifier.v1.bindir",
		"io.containerd.internal.v1.opt",
		"io.containerd.monitor.container.v1.restart",
		"io.containerd.mount-handler.v1.erofs",
		"io.containerd.snapshotter.v1.blockfile",
		"io.containerd.snapshotter.v1.btrfs",
		"io.containerd.snapshotter.v1.devmapper",
		"io.containerd.snapshotter.v1.erofs",
		"io.containerd.snapshotter.v1.zfs",
	}
	if snapshotter != "native" {
		disabled = append(disabled, "io.containerd.snapshotter.v1.native")
	}
	return disabled
}

// configFor says how containerd is run with the executables in binDir.
func configFor(o Options, h host, binDir string) config {
	return config{
		Root:          o.root(),
		State:         filepath.Join(o.RunDir, "containerd"),
		Temp:          filepath.Join(o.root(), "tmp"),
		Socket:        o.socketPath(),
		ShimDir:       filepath.Join(o.RunDir, "s"),
		RuncRoot:      filepath.Join(o.RunDir, "runc"),
		BinDir:        binDir,
		CNIConfDir:    o.CNIConfDir,
		MirrorsDir:    o.MirrorsDir,
		PauseImage:    PauseImage,
		Snapshotter:   h.snapshotter(),
		SystemdCgroup: h.systemdCgroup(o.CgroupDriver),
		RestrictOOM:   !h.sysResource,
		OOMScore:      h.oomScore(),
		Disabled:      unused(h.snapshotter()),
	}
}

// render spells the configuration in containerd's file format, version 4.
func (c config) render() ([]byte, error) {
	t, err := template.New("config.toml").Option("missingkey=error").Parse(configText)
	if err != nil {
		return nil, fmt.Errorf("parse the engine's configuration template: %w", err)
	}
	var b bytes.Buffer
	if err := t.Execute(&b, c); err != nil {
		return nil, fmt.Errorf("render the engine's configuration: %w", err)
	}
	return b.Bytes(), nil
}
