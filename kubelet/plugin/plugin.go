// Package plugin finds plugins of the node: programs that put a socket into the
// registration directory and tell there what they are, by the API
// k8s.io/kubelet/pkg/apis/pluginregistration/v1.
//
// It decides when a plugin is asked, tried again and forgotten; what a plugin of
// a type is good for it leaves to the Handler of that type. Nothing is polled:
// the directory tells of sockets that come and go.
package plugin

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
)

// A Type is what a plugin says it is.
type Type string

// Types of plugins there are handlers for.
const (
	CSI    Type = "CSIPlugin"
	Device Type = "DevicePlugin"
	DRA    Type = "DRAPlugin"
)

// A Plugin is what one told of itself.
type Plugin struct {
	Type     Type
	Name     string   // "csi.example.com", or a resource such as "example.com/gpu"
	Endpoint string   // the socket on which it serves; that of the registration if it names none
	Versions []string // of the API it serves, as its type counts them
	Socket   string   // on which it was registered
}

// A Handler takes in plugins of one type. Of plugins of one name it is called
// for one at a time:
//
//	socket made ──► Validate ──► Register ──► Deregister ◄── socket removed
//	                   │ error      │ error: the plugin is told, and asked again later
//	                   └────────────┴──► …
//
// A plugin that comes back under another socket is registered again, and only
// the removal of that socket deregisters it; of type DRA each socket is one plugin,
// whatever its name. At the end of boot nothing is deregistered.
type Handler interface {
	// Validate refuses a plugin before anything is known of it.
	Validate(ctx context.Context, p Plugin) error
	// Register takes the plugin in. It may take its time; others do not wait.
	Register(ctx context.Context, p Plugin) error
	// Deregister forgets the plugin.
	Deregister(ctx context.Context, p Plugin)
}

// Options are what a Watcher is made of. All are required.
type Options struct {
	Dir      string // upstream's is /var/lib/kubelet/plugins_registry; it is made
	Handlers map[Type]Handler
	Log      *slog.Logger
}

// A Watcher registers the plugins whose sockets are in a directory or below it.
type Watcher struct {
	o     Options
	socks map[string]*socket // by path; of the goroutine of Run

	mu     sync.Mutex             // guards what follows
	owners map[string]string      // socket that a plugin, by type and name, was registered on last
	turns  map[string]*sync.Mutex // by type and name
}

// New returns a Watcher that does nothing before Run.
func New(o Options) *Watcher {
	return &Watcher{o: o, socks: map[string]*socket{}, owners: map[string]string{}, turns: map[string]*sync.Mutex{}}
}

// turn waits until nothing is done for a plugin of the same type and name. The
// caller must call the func that is returned.
func (w *Watcher) turn(p Plugin) (done func()) {
	w.mu.Lock()
	turn, ok := w.turns[p.key()]
	if !ok {
		turn = &sync.Mutex{}
		w.turns[p.key()] = turn
	}
	w.mu.Unlock()
	turn.Lock()
	return turn.Unlock
}

// own notes which socket a plugin is registered on.
func (w *Watcher) own(p Plugin) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.owners[p.key()] = p.Socket
}

// disown reports whether the plugin was registered on this socket last, and
// forgets that.
func (w *Watcher) disown(p Plugin) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.owners[p.key()] != p.Socket {
		return false
	}
	delete(w.owners, p.key())
	return true
}

// key tells plugins apart. A driver of claims may be there several times: the next
// version of it comes before the one that it replaces goes.
func (p Plugin) key() string {
	if p.Type == DRA {
		return string(p.Type) + " " + p.Name + " " + p.Socket
	}
	return string(p.Type) + " " + p.Name
}

func (p Plugin) String() string { return fmt.Sprintf("%s %s at %s", p.Type, p.Name, p.Endpoint) }
