// Package local is what the loop tells commands on the same host, over a socket
// that only root may use. It needs no API server and no container engine to
// answer: what is told is what the loop knows anyway.
//
// It decides how the loop's knowledge is worded and passed on. What a command
// makes of it, and what the loop does, are left to these.
//
//	boot status ──► Client ──► /run/boot/loop.sock ──► Server ──► Look (the loop)
package local

import (
	"path/filepath"
	"time"
)

// Socket is where the loop answers, in the directory of what boot keeps until the
// host restarts.
func Socket(runDir string) string { return filepath.Join(runDir, "loop.sock") }

// A State is what the loop knows at one moment.
type State struct {
	Node       string      `json:"node"`
	Boot       string      `json:"boot"`       // version of boot that runs as the loop
	Kubernetes string      `json:"kubernetes"` // version that the node reports
	PID        int         `json:"pid"`
	Since      time.Time   `json:"since"` // when the loop was started
	Now        time.Time   `json:"now"`   // when it looked
	Registered bool        `json:"registered"`
	Labels     []string    `json:"labels,omitempty"` // keys of the Node's labels, as the API has them
	Conditions []Condition `json:"conditions"`
	Engine     Engine      `json:"engine"`
	Pods       []Pod       `json:"pods"` // of all sources, by namespace and name
	// ManifestDir is where static pods are from, empty where there are none.
	ManifestDir string    `json:"manifestDir,omitempty"`
	Problems    []Problem `json:"problems,omitempty"` // with manifests
	// APIServers are those the balancer of the node knows, none where it has none.
	APIServers   []APIServer   `json:"apiServers,omitempty"`
	Certificates []Certificate `json:"certificates,omitempty"`
	// Rotation is the node's part in a rotation of the cluster's authorities, nil
	// while there is none.
	Rotation *Rotation `json:"rotation,omitempty"`
	// Pending are origins of pods that have not had their say, such as "api".
	Pending []string `json:"pending,omitempty"`
	// Complaints are warnings and errors of the loop, each kind once, the last
	// first.
	Complaints []Complaint `json:"complaints,omitempty"`
}

// A Condition of the Node, as the loop would report it now.
type Condition struct {
	Type    string    `json:"type"`
	Status  string    `json:"status"` // True, False or Unknown
	Reason  string    `json:"reason"`
	Message string    `json:"message"`
	Since   time.Time `json:"since"`
}

// An Engine is the container engine as the loop heard of it last.
type Engine struct {
	Endpoint     string `json:"endpoint"`
	Version      string `json:"version,omitempty"` // "containerd://2.4.2", empty before it answered
	Ready        bool   `json:"ready"`
	NetworkReady bool   `json:"networkReady"`
	Message      string `json:"message,omitempty"` // what is wrong with it
}

// A Problem is a manifest that is not run, or not as it is written.
type Problem struct {
	Path    string `json:"path"`
	Line    int    `json:"line,omitempty"`
	Pod     string `json:"pod,omitempty"` // "namespace/name"
	Reason  string `json:"reason"`        // of the event: StaticPodRefused, StaticPodKept, …
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
	// Kept is since when the last good version runs, zero if none does.
	Kept  time.Time `json:"kept,omitzero"`
	Since time.Time `json:"since"` // when the loop first saw it
}

// An APIServer is one that the balancer knows.
type APIServer struct {
	Address     string `json:"address"`
	Health      string `json:"health"` // unknown, ready, unready or down
	Reason      string `json:"reason,omitempty"`
	InUse       bool   `json:"inUse"`
	Connections int    `json:"connections"`
}

// A Certificate is one that the loop holds and renews.
type Certificate struct {
	Name     string    `json:"name"`
	NotAfter time.Time `json:"notAfter"`
}

// A Rotation is how far this node has come in a rotation of authorities.
type Rotation struct {
	Stage   string `json:"stage"`             // that it was told to get to: "<id>/<stage>"
	Reached bool   `json:"reached"`           // it is there, and waits for others
	Trouble string `json:"trouble,omitempty"` // why it is not there, as far as it has tried
}

// A Complaint is a warning or an error of the loop, as in its log.
type Complaint struct {
	Message string    `json:"message"`
	Of      string    `json:"of,omitempty"`  // pod or path that it is about
	Err     string    `json:"err,omitempty"` // the last one
	Count   int       `json:"count"`
	Last    time.Time `json:"last"`
}
