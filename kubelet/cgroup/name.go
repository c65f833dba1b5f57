package cgroup

import (
	"path"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// A name is a group's place below the root of the hierarchy, one element for
// each group on the way, whoever makes them.
type name []string

func (n name) child(element string) name { return append(slices.Clone(n), element) }

// root returns the group above all of boot's.
func (c *Cgroups) root() name {
	return slices.DeleteFunc(strings.Split(c.Root, "/"), func(e string) bool { return e == "" })
}

func (c *Cgroups) allPods() name { return c.root().child("kubepods") }

// classOf returns the group of all pods of a class. Guaranteed ones have none.
func (c *Cgroups) classOf(class v1.PodQOSClass) name {
	switch class {
	case v1.PodQOSBestEffort:
		return c.allPods().child("besteffort")
	case v1.PodQOSBurstable:
		return c.allPods().child("burstable")
	default:
		return c.allPods()
	}
}

// classes are all there are.
func classes() []v1.PodQOSClass {
	return []v1.PodQOSClass{v1.PodQOSGuaranteed, v1.PodQOSBurstable, v1.PodQOSBestEffort}
}

func (c *Cgroups) podName(class v1.PodQOSClass, uid types.UID) name {
	return c.classOf(class).child("pod" + string(uid))
}

// path returns the name as a path: as it is, or as the slices of systemd, each
// of which has the names of those above it in its own:
//
//	/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podabc.slice
func (c *Cgroups) path(n name) string {
	if c.Driver != Systemd {
		return "/" + path.Join(n...)
	}
	full, prefix := "/", ""
	for _, e := range n {
		prefix += strings.ReplaceAll(e, "-", "_") // a dash is a slash to systemd
		full = path.Join(full, prefix+".slice")
		prefix += "-"
	}
	return full
}

// isPod reports whether the base name of a group in a class is a pod's.
func (c *Cgroups) isPod(class v1.PodQOSClass, base string) bool {
	return strings.HasPrefix(base, strings.TrimSuffix(path.Base(c.path(c.podName(class, ""))), ".slice"))
}
