// Command livenessprobe answers over HTTP whether a CSI driver is well. It
// stands in for the program of that name that upstream's tests of storage
// deploy, with the options they give it.
package main

import (
	"context"
	"flag"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

func main() {
	socket := flag.String("csi-address", "/run/csi/socket", "the driver's socket")
	port := flag.String("health-port", "9808", "the port on which to answer /healthz")
	timeout := flag.Duration("probe-timeout", time.Second, "of a call of the driver")
	flag.Int("v", 0, "without effect")
	flag.Parse()
	if err := serve(*socket, *port, *timeout); err != nil {
		fmt.Fprintln(os.Stderr, "livenessprobe:", err)
		os.Exit(1)
	}
}

func serve(socket, port string, timeout time.Duration) error {
	conn, err := grpc.NewClient("unix:"+strings.TrimPrefix(socket, "unix://"), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	http.HandleFunc("/healthz", func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), timeout)
		defer cancel()
		resp, err := csi.NewIdentityClient(conn).Probe(ctx, &csi.ProbeRequest{})
		switch {
		case err != nil:
			http.Error(w, err.Error(), http.StatusInternalServerError)
		case resp.Ready != nil && !resp.Ready.Value:
			http.Error(w, "the driver is not ready", http.StatusInternalServerError)
		}
	})
	return http.ListenAndServe(":"+port, nil) //nolint:gosec // it is for the kubelet's probes
}
