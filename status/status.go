// Package status says on one screen how this node is: the loop, the engine, the
// API server, etcd, its static pods, certificates and manifests.
//
// It decides what is worth a line, in which words, and what makes a node
// degraded. It changes nothing, answers within two seconds whatever is down, and
// leaves to package doctor what to do about what it shows.
package status

import (
	"time"

	"boot.internal/kubelet/local"
)

// A Verdict sums up how the node is.
type Verdict string

// The verdicts; the zero Verdict is none.
const (
	OK       Verdict = "ok"
	Degraded Verdict = "degraded" // the loop runs, and something is wrong
	LoopDown Verdict = "loop-down"
	NoNode   Verdict = "no-node" // neither init nor join has been run here
)

// A Report is how a node is at one moment.
type Report struct {
	Verdict Verdict `json:"verdict"`
	// Wrong is why the verdict is not OK, in words, the worst first.
	Wrong        []string        `json:"wrong,omitempty"`
	Now          time.Time       `json:"now"`
	Node         Node            `json:"node"`
	Loop         Loop            `json:"loop"`
	Engine       Engine          `json:"engine"`
	API          *API            `json:"api,omitempty"`  // nil where the node has no cluster
	Etcd         *Etcd           `json:"etcd,omitempty"` // nil where it has no member
	StaticPods   []local.Pod     `json:"staticPods"`
	OtherPods    Others          `json:"otherPods"`
	Certificates []Certificate   `json:"certificates,omitempty"` // the next to end first
	Manifests    []local.Problem `json:"manifests,omitempty"`
	// Unseen is what could not be looked at, and why.
	Unseen []string `json:"unseen,omitempty"`
}

// A Node is who the node is to the cluster.
type Node struct {
	Name       string            `json:"name"`
	Roles      []string          `json:"roles,omitempty"`
	Ready      string            `json:"ready"` // True, False or Unknown
	Registered bool              `json:"registered"`
	Kubernetes string            `json:"kubernetes,omitempty"`
	Conditions []local.Condition `json:"conditions,omitempty"`
}

// A Loop is the kubelet loop of this host.
type Loop struct {
	Running bool      `json:"running"`
	Error   string    `json:"error,omitempty"` // why it does not answer
	Boot    string    `json:"boot,omitempty"`  // its version
	PID     int       `json:"pid,omitempty"`
	Since   time.Time `json:"since,omitzero"`
	Service
	Complaints []local.Complaint `json:"complaints,omitempty"`
	// APIServers are those the node's balancer knows.
	APIServers []local.APIServer `json:"apiServers,omitempty"`
	// Rotation is the node's part in a rotation of authorities, nil if there is none.
	Rotation *local.Rotation `json:"rotation,omitempty"`
}

// A Service is what keeps the loop running.
type Service struct {
	Kind  string `json:"service,omitempty"` // systemd, openrc or detached
	Log   string `json:"log,omitempty"`     // how to read the loop's log
	Exits int    `json:"exits,omitempty"`   // how often it has ended, where that is known
	Last  string `json:"last,omitempty"`    // how it ended last
}

// An Engine is the container engine.
type Engine struct {
	Healthy bool   `json:"healthy"`
	Version string `json:"version,omitempty"` // "containerd://2.4.2"
	Socket  string `json:"socket,omitempty"`
	Network bool   `json:"networkReady"`
	Error   string `json:"error,omitempty"`
}

// An API is how the node reaches the API server.
type API struct {
	Reachable bool     `json:"reachable"`
	Ways      []APIWay `json:"ways"`
}

// An APIWay is one kubeconfig of the node that was tried.
type APIWay struct {
	Server string `json:"server"` // URL
	File   string `json:"file"`   // kubeconfig that names it
	OK     bool   `json:"ok"`
	Error  string `json:"error,omitempty"`
	// Clock is how far the server's clock is ahead of ours, in seconds; whole
	// seconds are all that it tells. Only if it answered.
	Clock int `json:"clockAheadSeconds,omitempty"`
}

// An Etcd is the cluster's etcd as its members tell.
type Etcd struct {
	Quorum  bool     `json:"quorum"`
	Members []Member `json:"members,omitempty"`
	Error   string   `json:"error,omitempty"` // why nothing, or no quorum, is known
}

// A Member is one of etcd's.
type Member struct {
	Name    string `json:"name"`
	Role    string `json:"role"` // leader, follower or learner
	Healthy bool   `json:"healthy"`
	Error   string `json:"error,omitempty"`
	Version string `json:"version,omitempty"`
	DBSize  int64  `json:"dbSize,omitempty"` // bytes
}

// Others are the pods that are not static.
type Others struct {
	Total  int         `json:"total"`
	Unwell []local.Pod `json:"unwell,omitempty"`
}

// A Certificate is one that the node holds.
type Certificate struct {
	Name      string    `json:"name"` // kubeadm's: "etcd-server"
	Path      string    `json:"path"`
	NotAfter  time.Time `json:"notAfter,omitzero"` // zero where it cannot be read
	Authority bool      `json:"authority,omitempty"`
	// Trouble is what is wrong with it though it has not ended: it cannot be used,
	// or should have been renewed.
	Trouble string `json:"trouble,omitempty"`
}
