// Package source says which pods the node is to run: it watches the manifest
// directory and a URL, and yields each time something changed the full set of
// pods of that origin, with everything there is to complain about.
//
// It decides which documents count: which files are read, which version of a
// file that went bad, which of two files for one pod. What a document means is
// the business of its package manifest; what becomes of the pods, that of the
// receiver. An origin never waits for another, and none of them waits for the
// API server.
package source

import (
	"fmt"

	v1 "k8s.io/api/core/v1"

	"boot.internal/kubelet/pod"
)

// A Snapshot is everything one origin wants now. It is never changed after it
// was sent.
type Snapshot struct {
	Origin   string // pod.SourceFile, pod.SourceHTTP or pod.SourceAPI
	Pods     []*v1.Pod
	Problems []Problem
	// Partial is set while the origin could not be read yet: what is in Pods is
	// wanted, but what runs in the origin's name and is not in there must be
	// left alone.
	Partial bool
}

// A Reason says what became of a document with a problem. It serves as the
// reason of an Event.
type Reason string

// Problems are of one of these reasons.
const (
	// Refused documents run no pod.
	Refused Reason = "StaticPodRefused"
	// Kept documents are bad, and the pod of their last good version goes on.
	Kept Reason = "StaticPodKept"
	// Duplicate documents want a pod that another document already defines.
	Duplicate Reason = "StaticPodDuplicate"
	// Ignored files are no manifests by their name.
	Ignored Reason = "ManifestIgnored"
	// Unreadable files or places could not be read.
	Unreadable Reason = "ManifestUnreadable"
	// Questionable documents run, though not quite as written.
	Questionable Reason = "StaticPodQuestionable"
	// Unwatched places are only read now and then.
	Unwatched Reason = "ManifestsUnwatched"
)

// A Problem is one thing the user should hear about. The receiver reports each
// distinct one once, for as long as it stays.
type Problem struct {
	Path    string  // file or URL
	Line    int     // 0 if it is not about a line
	Pod     pod.Key // zero if the document does not tell
	Reason  Reason
	Message string
	Hint    string // what to do about it, "" if the message says enough
}

// String returns path, line and message: "/m/etcd.yaml:12: spec.containers[0].image: Required value".
func (p Problem) String() string {
	if p.Line > 0 {
		return fmt.Sprintf("%s:%d: %s", p.Path, p.Line, p.Message)
	}
	return p.Path + ": " + p.Message
}
