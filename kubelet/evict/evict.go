// Package evict keeps the node alive when pods use more of it than there is: it
// watches what is left of memory, disks, inodes and processes, frees what nobody
// needs, and where that does not do, chooses pods that have to go.
//
//	signals ──► Assess ──► conditions of the node
//	               │ a threshold is met for as long as it takes
//	               ▼
//	        free what nobody needs ──► Choose ──► one pod ends, Failed and Evicted
//
// It decides when a node is under pressure, who goes first and in which words
// that is told; what it says and does is upstream's. Usage by pod, dear to
// measure, is asked for only once a threshold is met. Freeing images and dead
// containers, ending pods and telling the API are left to others.
package evict

import (
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// A Signal is one thing that may run out, as KubeletConfiguration names it.
type Signal string

// The signals. Sizes are in bytes. The file system of containers is that of the
// node or of images, and so are its thresholds, unless the runtime says otherwise.
const (
	MemoryAvailable            Signal = "memory.available"
	AllocatableMemoryAvailable Signal = "allocatableMemory.available"
	NodeFSAvailable            Signal = "nodefs.available"
	NodeFSInodesFree           Signal = "nodefs.inodesFree"
	ImageFSAvailable           Signal = "imagefs.available"
	ImageFSInodesFree          Signal = "imagefs.inodesFree"
	ContainerFSAvailable       Signal = "containerfs.available"
	ContainerFSInodesFree      Signal = "containerfs.inodesFree"
	PIDAvailable               Signal = "pid.available"
)

// Names of resources in messages that are none of the API's.
const (
	inodes v1.ResourceName = "inodes"
	pids   v1.ResourceName = "pids"
)

// resource returns what a signal is about, "" for one that there is not.
func (s Signal) resource() v1.ResourceName {
	switch s {
	case MemoryAvailable, AllocatableMemoryAvailable:
		return v1.ResourceMemory
	case NodeFSAvailable, ImageFSAvailable, ContainerFSAvailable:
		return v1.ResourceEphemeralStorage
	case NodeFSInodesFree, ImageFSInodesFree, ContainerFSInodesFree:
		return inodes
	case PIDAvailable:
		return pids
	}
	return ""
}

// condition returns the condition of the node that a signal leads to.
func (s Signal) condition() v1.NodeConditionType {
	switch s.resource() {
	case v1.ResourceMemory:
		return v1.NodeMemoryPressure
	case pids:
		return v1.NodePIDPressure
	}
	return v1.NodeDiskPressure
}

// An Amount is a quantity, or a share of what there is.
type Amount struct {
	Quantity resource.Quantity
	Share    float32 // of the capacity; used where it is not 0
}

// of returns how much an amount is of a capacity.
func (a Amount) of(capacity int64) int64 {
	if a.Share == 0 {
		return a.Quantity.Value()
	}
	return int64(float64(capacity) * float64(a.Share))
}

// A Threshold is met when less is left than its amount.
type Threshold struct {
	Signal     Signal
	Amount     Amount
	Grace      time.Duration // to be met for before anyone is evicted; 0 is a hard threshold
	MinReclaim Amount        // to be freed beyond the threshold once it was met
}

// hard reports whether a threshold leaves pods no time.
func (t Threshold) hard() bool { return t.Grace == 0 }

// same reports whether two thresholds are met by the same. What is to be freed
// beyond them does not tell them apart.
func (t Threshold) same(o Threshold) bool {
	return t.Signal == o.Signal && t.Grace == o.Grace && t.Amount.Share == o.Amount.Share &&
		t.Amount.Quantity.Cmp(o.Amount.Quantity) == 0
}

// A Level is how much there is of something and how much of that is left.
type Level struct{ Available, Capacity int64 }

// Levels are what was seen of each signal. One that could not be seen is missing.
type Levels map[Signal]Level

// met reports whether a threshold is met; with the amount to be freed on top of
// it, if beyond is set.
func (t Threshold) met(seen Levels, beyond bool) bool {
	l, ok := seen[t.Signal]
	if !ok {
		return false
	}
	limit := t.Amount.of(l.Capacity)
	if beyond {
		limit += t.MinReclaim.of(l.Capacity)
	}
	return limit > l.Available
}
