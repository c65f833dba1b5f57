// Package timeline knows what happened when while a node came up: what the
// phases of a command did, and what the loop did with what they left it. It
// keeps this in one small file a bring-up, and finds out of it which chain of
// steps made the bring-up take as long as it did.
//
// It decides what is kept, how that is drawn, and what of it is on the critical
// path. When something happens, and what it had to wait for, is known and told by
// those who do it: package cmd of the phases and the images, package kubelet of
// all else. No record holds a secret.
package timeline

import (
	"path/filepath"
	"time"
)

// A Kind says what a record is about.
type Kind string

// The kinds of records there are, in the order in which a node comes up.
const (
	Run     Kind = "run"     // a command from beginning to end; Name: its name
	Phase   Kind = "phase"   // a phase of it; Name: the phase
	Look    Kind = "look"    // what a phase took to find out what there is to do; Name: the phase
	Change  Kind = "change"  // a change it made; Name: what, Phase: of which phase
	Health  Kind = "health"  // a component until the command found it healthy; Pod
	Loop    Kind = "loop"    // the loop begins; Name: its node
	Engine  Kind = "engine"  // the container engine is found or started
	Answer  Kind = "answer"  // until the loop had its first answer of it
	Read    Kind = "read"    // an archive of images is read and checked; Name: the file
	Import  Kind = "import"  // an image of it; Name: the image
	Wanted  Kind = "wanted"  // a pod is to run from now on; Pod
	Sandbox Kind = "sandbox" // one is made; Pod
	Image   Kind = "image"   // a container waits until its image is there; Pod, Container, Name: the image
	Create  Kind = "create"  // a container is made; Pod, Container
	Start   Kind = "start"   // a container is started; Pod, Container
	Ready   Kind = "ready"   // a container, from its start until its probes say that it is ready; Pod, Container
	PodUp   Kind = "up"      // a pod is Ready for the first time; Pod
	API     Kind = "api"     // the loop has what it takes to reach the API server
	Node    Kind = "node"    // the node is in the API
	CIDR    Kind = "cidr"    // the node got its range of pod IPs
	Network Kind = "network" // pods can be connected
	NodeUp  Kind = "nodeup"  // the node is Ready for the first time
	Mirror  Kind = "mirror"  // the API has the mirror of a static pod; Pod
	Closed  Kind = "closed"  // the loop writes no more: the bring-up is over
)

// A Record is one thing that happened. What goes on for a while is written when it
// begins, without End, and again with the same Seq when it ends.
type Record struct {
	Seq  int64  `json:"seq"`
	By   string `json:"by"` // "loop", or the name of a command
	Kind Kind   `json:"kind"`
	Name string `json:"name,omitempty"`
	// Phase is the one a change is of.
	Phase string `json:"phase,omitempty"`
	// Pod is the pod as people call it: kube-system/etcd, a static pod without
	// the name of its node.
	Pod       string    `json:"pod,omitempty"`
	Container string    `json:"container,omitempty"`
	Start     time.Time `json:"start"`
	End       time.Time `json:"end,omitzero"`
	// Needs are the keys of what had to be over before this could be: what it
	// may have waited for.
	Needs []string `json:"needs,omitempty"`
	// Goal marks what a bring-up is for: it is over when all of them are.
	Goal bool   `json:"goal,omitempty"`
	Err  string `json:"error,omitempty"` // why it failed
}

// Key is what others name the record by when they need it. Records of one key
// happen one after the other: the last that is over counts.
func (r Record) Key() string {
	switch r.Kind {
	case Import:
		return ImportKey(r.Name)
	case Change:
		return ChangeKey(r.Name)
	case Image, Create, Start, Ready:
		return string(r.Kind) + ":" + r.Pod + "/" + r.Container
	case Run, Phase, Look, Read:
		return string(r.Kind) + ":" + r.Name
	}
	return PodKey(r.Kind, r.Pod)
}

// PodKey is the key of what concerns a pod as a whole, or none.
func PodKey(k Kind, pod string) string {
	if pod == "" {
		return string(k)
	}
	return string(k) + ":" + pod
}

// ContainerKey is the key of what concerns a container.
func ContainerKey(k Kind, pod, container string) string {
	return string(k) + ":" + pod + "/" + container
}

// ImportKey is the key of the import of an image.
func ImportKey(image string) string { return string(Import) + ":" + image }

// ChangeKey is the key of a change, by its words.
func ChangeKey(desc string) string { return string(Change) + ":" + desc }

// ManifestKey is the key of the change that hands a manifest to the loop.
func ManifestKey(dir, pod string) string {
	return ChangeKey("write " + filepath.Join(dir, pod+".yaml"))
}

// over says whether the record has ended.
func (r Record) over() bool { return !r.End.IsZero() }
