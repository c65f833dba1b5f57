// Package server is the node's own API on :10250, and its health on
// 127.0.0.1:10248.
//
// It decides who may ask what: requests are authenticated by client certificate
// or token and authorized by the API server, as the kubelet's configuration
// says. What is answered it asks of others: which pods there are, how the loop
// is doing, what is measured.
package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
	kubeletv1beta1 "k8s.io/kubelet/config/v1beta1"
)

// Pods knows the pods of the node.
type Pods interface {
	// Pods returns the pods the node is to run, with their latest status. They
	// are the caller's.
	Pods() []v1.Pod
}

// Options are what the server is made of.
type Options struct {
	Config *kubeletv1beta1.KubeletConfiguration
	Node   string // name of this node
	// CertFile and KeyFile hold the serving certificate, and are made,
	// self-signed, if neither is there.
	CertFile, KeyFile string
	IPs               []string // of the node, for a certificate made here
	// Signed returns the certificate that the cluster signed, nil while there is
	// none: then that of the files is shown. May be nil.
	Signed     func() *tls.Certificate
	Pods       Pods
	PodLogsDir string // container logs; upstream's is /var/log/pods
	// ContainerStatus asks the runtime for one container, to follow its log.
	ContainerStatus func(ctx context.Context, id string) (*cri.ContainerStatus, error)
	// Metrics are the loop's own; Containers, Resource and Probes those of
	// containers in detail, of CPU and memory alone, and of probes. Any but the
	// first may be nil.
	Metrics, Containers, Resource, Probes prometheus.Gatherer
	// Stats measures the node and its pods; may be nil.
	Stats Stats
	// Runtime is asked for what runs, and told to run commands; may be nil.
	Runtime Runtime
	// CheckpointDir is where checkpoints of containers are kept.
	CheckpointDir string
	// SystemLogs is the directory that is shown under /logs/: /var/log.
	SystemLogs string
	// Verbosity sets how much is logged, as klog counts; may be nil.
	Verbosity func(level int)
	// Streams opens exec, attach and port-forward at the runtime. If it is nil
	// there is none of that.
	Streams Streams
	// Sandbox returns the runtime's ID of the ready sandbox of a pod, for
	// port-forward.
	Sandbox func(ctx context.Context, uid types.UID) (string, error)
	// MirrorUID returns the UID that the API server knows a static pod by. May
	// be nil.
	MirrorUID func(p *v1.Pod) (types.UID, bool)
	// Version is that of the kubelet, and Flags are those it was started with: both
	// are shown.
	Version string
	Flags   map[string]string
	// Health says what is wrong with the loop, if anything.
	Health func() error
	// Reviews asks the API server who somebody is and what they may do; it
	// returns nil while there is no API server.
	Reviews func() Reviews
	// Trace returns a handler that tells of what is asked of the one it is given, who
	// asks being known by then. May be nil.
	Trace func(http.Handler) http.Handler
	Log   *slog.Logger
}

// Server is the node's API.
type Server struct {
	o    Options
	auth *authorizer
	who  *authenticator
	http *requests
	tls  *tls.Config

	started time.Time
}

// New returns a server that does not listen before Run.
func New(o Options) (*Server, error) {
	cert, err := openCertificate(o)
	if err != nil {
		return nil, err
	}
	config, err := tlsConfig(o.Config, cert)
	if err != nil {
		return nil, err
	}
	return &Server{o: o, auth: newAuthorizer(o), who: newAuthenticator(o), http: newRequests(), tls: config, started: time.Now()}, nil
}

// shutdownGrace is how long requests may go on once the server is to end.
const shutdownGrace = 2 * time.Second

// Run serves until ctx ends.
func (s *Server) Run(ctx context.Context) error {
	c := s.o.Config
	var g errgroup.Group
	g.Go(func() error {
		return s.listen(ctx, net.JoinHostPort(c.Address, strconv.Itoa(int(c.Port))), s.tls, s.Handler())
	})
	if c.HealthzPort != nil && *c.HealthzPort > 0 {
		g.Go(func() error {
			return s.listen(ctx, net.JoinHostPort(c.HealthzBindAddress, strconv.Itoa(int(*c.HealthzPort))), nil, s.healthHandler())
		})
	}
	return g.Wait()
}

// listen serves on addr until ctx ends. An address that is taken is tried
// again: another agent may be on its way out.
func (s *Server) listen(ctx context.Context, addr string, config *tls.Config, h http.Handler) error {
	server := &http.Server{
		Addr: addr, Handler: h, TLSConfig: config,
		ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 90 * time.Second,
		ErrorLog: slog.NewLogLogger(s.o.Log.Handler(), slog.LevelDebug),
	}
	stop := context.AfterFunc(ctx, func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownGrace)
		defer cancel()
		if server.Shutdown(ctx) != nil {
			_ = server.Close() // followed logs do not end by themselves
		}
	})
	defer stop()
	l := s.bind(ctx, addr)
	if l == nil {
		return nil
	}
	if config != nil {
		l = tls.NewListener(l, config)
	}
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve on %s: %w", addr, err)
	}
	return nil
}

// bind returns a listener on addr, or none once ctx ends.
func (s *Server) bind(ctx context.Context, addr string) net.Listener {
	var lc net.ListenConfig
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, 10*time.Second) {
		l, err := lc.Listen(ctx, "tcp", addr)
		if err == nil {
			return l
		}
		if ctx.Err() != nil {
			return nil
		}
		s.o.Log.LogAttrs(ctx, slog.LevelWarn, "listen", slog.String("address", addr), slog.Any("err", err))
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil
		}
	}
}
