package evict

import "slices"

// A Layout says which file systems there are beside the node's own, which has
// volumes and logs.
type Layout struct {
	Images     bool // images are on one of their own
	Containers bool // writable layers are not where images are
}

// withContainerFS gives the file system of containers the thresholds of the one
// that it is: the node's, unless containers are with images somewhere else.
// What was configured for it is overruled, as upstream does.
func (l Layout) withContainerFS(all []Threshold) []Threshold {
	available, inodesFree := NodeFSAvailable, NodeFSInodesFree
	if l.Images && !l.Containers {
		available, inodesFree = ImageFSAvailable, ImageFSInodesFree
	}
	if l.Containers && !l.Images {
		return all
	}
	out := slices.DeleteFunc(slices.Clone(all), func(t Threshold) bool {
		return t.Signal == ContainerFSAvailable || t.Signal == ContainerFSInodesFree
	})
	for _, t := range all {
		switch t.Signal {
		case available:
			t.Signal = ContainerFSAvailable
			out = append(out, t)
		case inodesFree:
			t.Signal = ContainerFSInodesFree
			out = append(out, t)
		}
	}
	return out
}

// A Step is one way to free something of the node's before pods have to go.
type Step string

// The steps.
const (
	DeadContainers Step = "dead containers"
	UnusedImages   Step = "unused images"
)

// steps returns what may help against a signal, in order.
func (l Layout) steps(s Signal) []Step {
	if s.condition() != "DiskPressure" {
		return nil
	}
	node := s == NodeFSAvailable || s == NodeFSInodesFree
	images := s == ImageFSAvailable || s == ImageFSInodesFree
	switch {
	case l.Images && l.Containers && images:
		return []Step{UnusedImages}
	case l.Images && l.Containers:
		return []Step{DeadContainers}
	case l.Images && node:
		return nil
	}
	return []Step{DeadContainers, UnusedImages}
}

// A share is what of a pod's files counts toward a file system.
type share struct{ layers, logs, volumes bool }

// share returns what of a pod is on the file system that a signal is about.
func (l Layout) share(s Signal) share {
	node := s == NodeFSAvailable || s == NodeFSInodesFree
	images := s == ImageFSAvailable || s == ImageFSInodesFree
	switch {
	case !l.Images:
		return share{layers: true, logs: true, volumes: true}
	case l.Containers:
		return share{layers: !images, logs: !images, volumes: !images}
	case node:
		return share{logs: true, volumes: true}
	}
	return share{layers: true}
}
