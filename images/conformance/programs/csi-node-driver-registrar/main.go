// Command csi-node-driver-registrar tells the kubelet of a CSI driver: it
// listens where the kubelet looks for plugins, and answers which driver is to be
// found at which socket. It stands in for the program of that name that
// upstream's tests of storage deploy, with the options they give it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	registration "k8s.io/kubelet/pkg/apis/pluginregistration/v1"
)

// A registrar tells of one driver.
type registrar struct {
	registration.UnimplementedRegistrationServer
	driver   string        // its socket, here
	endpoint string        // and as the kubelet sees it
	dir      string        // where the kubelet looks for plugins
	health   string        // the address on which to say that all is well; may be empty
	timeout  time.Duration // of one call of the driver

	name    string // what the driver calls itself
	refused chan error
}

func main() {
	r := registrar{refused: make(chan error, 1)}
	flag.StringVar(&r.driver, "csi-address", "/run/csi/socket", "the driver's socket")
	flag.StringVar(&r.endpoint, "kubelet-registration-path", "", "the same socket, as the kubelet sees it")
	flag.StringVar(&r.dir, "plugin-registration-path", "/registration", "where the kubelet looks for plugins")
	flag.StringVar(&r.health, "http-endpoint", "", "the address on which to answer /healthz")
	flag.DurationVar(&r.timeout, "timeout", time.Second, "of a call of the driver")
	flag.Int("v", 0, "without effect")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := r.run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "csi-node-driver-registrar:", err)
		os.Exit(1)
	}
}

func (r *registrar) run(ctx context.Context) error {
	if err := r.learn(ctx); err != nil {
		return err
	}
	path := filepath.Join(r.dir, r.name+"-reg.sock")
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
		return err
	}
	syscall.Umask(0o077)
	l, err := net.Listen("unix", path)
	if err != nil {
		return err
	}
	s := grpc.NewServer()
	registration.RegisterRegistrationServer(s, r)
	failed := make(chan error, 2)
	go func() { failed <- s.Serve(l) }()
	if r.health != "" {
		go func() { failed <- http.ListenAndServe(r.health, healthy(path)) }() //nolint:gosec // it is for the kubelet's probes
	}
	defer s.Stop() // which removes the socket
	select {
	case <-ctx.Done():
		return nil
	case err := <-r.refused:
		return err
	case err := <-failed:
		return err
	}
}

// healthy answers that all is well while the kubelet can find the socket.
func healthy(path string) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) {
		if _, err := os.Stat(path); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	})
	return mux
}

// learn waits for the driver and asks for its name.
func (r *registrar) learn(ctx context.Context) error {
	conn, err := grpc.NewClient("unix:"+strings.TrimPrefix(r.driver, "unix://"), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // nothing is under way
	for ctx.Err() == nil {
		one, cancel := context.WithTimeout(ctx, r.timeout)
		info, err := csi.NewIdentityClient(conn).GetPluginInfo(one, &csi.GetPluginInfoRequest{}, grpc.WaitForReady(true))
		cancel()
		if err == nil {
			r.name = info.Name
			return nil
		}
		fmt.Fprintln(os.Stderr, "ask the driver for its name:", err)
	}
	return ctx.Err()
}

// GetInfo tells the kubelet of the driver.
func (r *registrar) GetInfo(context.Context, *registration.InfoRequest) (*registration.PluginInfo, error) {
	return &registration.PluginInfo{Type: registration.CSIPlugin, Name: r.name, Endpoint: r.endpoint, SupportedVersions: []string{"1.0.0"}}, nil
}

// NotifyRegistrationStatus ends the program if the kubelet does not take the
// driver, so that it is started again.
func (r *registrar) NotifyRegistrationStatus(_ context.Context, s *registration.RegistrationStatus) (*registration.RegistrationStatusResponse, error) {
	if !s.PluginRegistered {
		select {
		case r.refused <- errors.New("register: " + s.Error):
		default: // it was said before
		}
	}
	return &registration.RegistrationStatusResponse{}, nil
}
