//go:build conformance

package e2e

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
	"testing"

	"boot.internal/e2e/internal/lab"
)

// Where the tests of the node work: they write the kubelet's configuration there.
const nodeTestsDir = "/root/node-tests"

// Upstream's tests of the node talk to the kubelet itself, stop it, and start it
// with another configuration. They run on a node on which nothing but a cluster
// of its own runs. See TestConformance for the environment; in place of
// CONFORMANCE_PROCS there is
//
//	CONFORMANCE_NODE  the test program: `make conformance-node` builds it
func TestConformanceNode(t *testing.T) {
	r := conformance{
		dir: need(t, "CONFORMANCE_DIR"), out: need(t, "CONFORMANCE_OUT"), focus: need(t, "CONFORMANCE_FOCUS"),
		skip: os.Getenv("CONFORMANCE_SKIP"),
	}
	program := need(t, "CONFORMANCE_NODE")
	if err := os.MkdirAll(r.out, 0o755); err != nil {
		t.Fatal(err)
	}
	n := machine(t)
	r.importImages(t, n)
	n.Boot(t, append([]string{"init"}, anyDisk(t, n)...)...)
	n.Kubectl(t, "taint", "node", n.Name, "node-role.kubernetes.io/control-plane-")
	n.Kubectl(t, "create", "clusterrolebinding", "node-tests", "--clusterrole=cluster-admin", "--serviceaccount=kube-system:default")
	token := strings.TrimSpace(n.Kubectl(t, "create", "token", "default", "-n", "kube-system", "--duration=24h"))
	readOnlyPort(t, n, token)
	standInForSystemd(t, n)

	r.report(t, n, r.log(t, n, "env", "-C", nodeTestsDir, "PATH="+nodeTestsDir+"/bin:"+os.Getenv("PATH"), program,
		"--start-services=false", "--prepull-images=false", "--node-name="+n.Name, "--host=https://127.0.0.1:6443", "--bearer-token="+token,
		"--container-runtime-endpoint=unix://"+engineSocket, "--image-service-endpoint=unix://"+engineSocket,
		"--ginkgo.no-color", "--ginkgo.v", "--ginkgo.timeout=24h", "--ginkgo.focus="+r.focus, "--ginkgo.skip="+r.skip, "--report-dir="+reportDir))
}

// readOnlyPort answers on the kubelet's read-only port, which the tests ask and
// boot has not, with what the other port says.
func readOnlyPort(t *testing.T, n *lab.Node, token string) {
	t.Helper()
	l, err := n.Listen("tcp", "127.0.0.1:10255")
	if err != nil {
		t.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: "https", Host: "127.0.0.1:10250"})
			r.Out.Header.Set("Authorization", "Bearer "+token)
		},
		Transport: &http.Transport{
			TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // it is our own
			DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
				return n.Dial(ctx, network, addr)
			},
		},
	}
	server := &http.Server{Handler: proxy}
	t.Cleanup(func() { _ = server.Close() })
	go func() { _ = server.Serve(l) }() // it ends with the test
}

// standInForSystemd puts the programs on the node by which the tests stop and
// start the kubelet, and the configuration where they write it.
func standInForSystemd(t *testing.T, n *lab.Node) {
	t.Helper()
	n.WriteFile(t, nodeTestsDir+"/bin/systemctl", systemctl)
	n.WriteFile(t, nodeTestsDir+"/bin/sudo", "#!/bin/sh\nexec \"$@\"\n")
	n.Run(t, "chmod", "+x", nodeTestsDir+"/bin/systemctl", nodeTestsDir+"/bin/sudo")
	n.Run(t, "ln", "-sf", "/var/lib/kubelet/config.yaml", nodeTestsDir+"/kubelet-config")
}

// systemctl stops the supervisor of the loop, which ends the loop with it, and
// starts it as it was started.
const systemctl = `#!/bin/bash
said=/run/node-tests.cmdline
supervisor() { grep -lsz -- '^--supervise' /proc/[0-9]*/cmdline | cut -d/ -f3; }
stop() {
	for p in $(supervisor); do
		cp /proc/$p/cmdline $said
		kill $p && while [ -e /proc/$p ]; do sleep 0.05; done
	done
}
case $1 in
list-units) echo "kubelet-boot.service loaded active running" ;;
kill | stop) stop ;;
start | restart) stop; xargs -0 setsid <$said >/dev/null 2>&1 & ;;
esac
`
