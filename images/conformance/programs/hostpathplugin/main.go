// Command hostpathplugin is a CSI driver whose volumes are directories, and for
// volumes of blocks files behind loop devices, of the one node it runs on. It
// stands in for the driver of that name that upstream's tests of storage
// deploy, with the options they give it; and, with -proxy-endpoint, for what
// they use to answer the calls of a driver themselves.
//
// It forgets its volumes when it ends.
package main

import (
	"context"
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
)

// options are the flags that upstream's tests set.
type options struct {
	name, node, endpoint, proxy, dir string
	attach, topology, nodeExpand     bool
	lifecycle                        bool // refuse what does not come in its order
	attachLimit, maxVolumes          int64
	modify                           bool
	mutable                          string // names of parameters, by commas
}

func main() {
	var o options
	flags := flag.CommandLine
	flags.StringVar(&o.name, "drivername", "hostpath.csi.k8s.io", "the driver's name")
	flags.StringVar(&o.node, "nodeid", "", "what the driver calls its node")
	flags.StringVar(&o.endpoint, "endpoint", "unix:///tmp/csi.sock", "the socket to listen on")
	flags.StringVar(&o.proxy, "proxy-endpoint", "", "answer no call, but join connections to the socket with those to this address")
	flags.StringVar(&o.dir, "statedir", "/csi-data-dir", "where volumes are kept")
	flags.BoolVar(&o.attach, "enable-attach", false, "volumes are to be attached")
	flags.BoolVar(&o.topology, "enable-topology", true, "volumes are on this node only")
	flags.BoolVar(&o.nodeExpand, "node-expand-required", false, "volumes are to be expanded on the node as well")
	flags.BoolVar(&o.lifecycle, "check-volume-lifecycle", false, "refuse calls that are out of order")
	flags.Int64Var(&o.attachLimit, "attach-limit", 0, "how many volumes can be attached")
	flags.Int64Var(&o.maxVolumes, "maxvolumespernode", 0, "how many volumes the node takes")
	flags.BoolVar(&o.modify, "enable-controller-modify-volume", false, "volumes can be modified")
	flags.StringVar(&o.mutable, "accepted-mutable-parameter-names", "", "the parameters that can be modified")
	flags.Int("v", 0, "every call is logged, whatever it is")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := o.run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "hostpathplugin:", err)
		os.Exit(1)
	}
}

func (o options) run(ctx context.Context) error {
	l, err := listen(o.endpoint)
	if err != nil {
		return err
	}
	if o.proxy != "" {
		tests, err := net.Listen("tcp", strings.TrimPrefix(o.proxy, "tcp://"))
		if err != nil {
			return err
		}
		return forward(ctx, l, tests.(*net.TCPListener))
	}
	if err := os.MkdirAll(o.dir, 0o755); err != nil {
		return err
	}
	d := &driver{o: o, volumes: map[string]*volume{}, snapshots: map[string]*snapshot{}}
	s := grpc.NewServer(grpc.UnaryInterceptor(note))
	csi.RegisterIdentityServer(s, d)
	csi.RegisterControllerServer(s, d)
	csi.RegisterNodeServer(s, d)
	context.AfterFunc(ctx, s.Stop)
	return s.Serve(l)
}

// listen listens on a socket, in place of what was there.
func listen(endpoint string) (net.Listener, error) {
	path := strings.TrimPrefix(endpoint, "unix://")
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
		return nil, err
	}
	return net.Listen("unix", path)
}
