package nstest

import (
	"strings"
	"testing"
	"text/template"
)

// Containerd is how a test runs containerd beside boot's own, as an administrator
// would who has brought it. Paths are those that containerd sees.
type Containerd struct {
	Bin         string // the directory of containerd, runc and the CNI plugins
	Socket      string
	Root, State string // empty: containerd's own
	CNI         string // the directory of network configurations
}

// Config returns its configuration file.
func (c Containerd) Config(t testing.TB) string {
	t.Helper()
	var out strings.Builder
	if err := template.Must(template.New("").Parse(containerdConfig)).Execute(&out, c); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

const containerdConfig = `version = 3
{{with .Root}}root = "{{.}}"
{{end}}{{with .State}}state = "{{.}}"
{{end}}
[grpc]
  address = "{{.Socket}}"

[plugins."io.containerd.cri.v1.images".pinned_images]
  sandbox = "registry.k8s.io/pause:3.10.2"

[plugins."io.containerd.cri.v1.runtime"]
  restrict_oom_score_adj = true
  enable_unprivileged_ports = true
  enable_unprivileged_icmp = true

  [plugins."io.containerd.cri.v1.runtime".cni]
    bin_dirs = ["{{.Bin}}"]
    conf_dir = "{{.CNI}}"

  [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"

    [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
      BinaryName = "{{.Bin}}/runc"
      SystemdCgroup = false
`

// CNINetwork is the configuration of a network for pods of one node, 10.99.0.0/24.
const CNINetwork = `{
  "cniVersion": "1.0.0",
  "name": "test",
  "plugins": [
    {"type": "bridge", "bridge": "test0", "isGateway": true, "ipam": {
      "type": "host-local", "dataDir": "/run/cni-test",
      "ranges": [[{"subnet": "10.99.0.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}]}}
  ]
}
`
