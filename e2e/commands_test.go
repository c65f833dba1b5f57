package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"boot.internal/e2e/internal/lab"
)

// oldConfig is a file as people have it who began with an older kubeadm.
const oldConfig = `apiVersion: kubeadm.k8s.io/v1beta3
kind: InitConfiguration
bootstrapTokens: [{token: ` + token + `}]
---
apiVersion: kubeadm.k8s.io/v1beta3
kind: ClusterConfiguration
apiServer:
  timeoutForControlPlane: 10m0s
  extraArgs:
    event-ttl: 30m # half of the default
---
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
evictionHard: {memory.available: 100Mi}
imageGCHighThresholdPercent: 100
`

// The commands around a cluster: a file of an older kubeadm makes it, its users get
// kubeconfigs, and a host that reaches no registry joins with nothing but one archive.
func TestCommands(t *testing.T) {
	t.Parallel()
	m := &team{lan: lab.NewLAN(t)}
	m.head = m.node(t, "head")
	file := migrated(t, m.head)
	m.head.Boot(t, "init", "--config", file)
	if manifest := m.head.ReadFile(t, "/etc/kubernetes/manifests/kube-apiserver.yaml"); !strings.Contains(manifest, "--event-ttl=30m") {
		t.Errorf("the API server's manifest lacks what the file says:\n%s", manifest)
	}
	t.Run("a kubeconfig for a user", func(t *testing.T) { checkUser(t, m.head) })
	air := m.lan.Node(t, "air") // which has no images, and nobody to get them from
	t.Cleanup(func() { checkLog(t, air) })
	t.Run("images as one archive", func(t *testing.T) { checkBundle(t, m.head, air) })
	t.Run("a control plane without a registry", func(t *testing.T) {
		said := strings.Fields(m.head.Boot(t, "init", "phase", "upload-certs", "--upload-certs"))
		command := m.head.Boot(t, "token", "create", "--print-join-command", "--certificate-key", said[len(said)-1])
		air.Boot(t, strings.Fields(command)[1:]...)
		waitReady(t, air)
		lab.Until(t, patience, "see the engine have all images", func(context.Context) error { // CoreDNS comes last
			for image, where := range images(t, air) {
				if !where.Engine {
					return fmt.Errorf("it has no %s", image)
				}
			}
			return nil
		})
	})
}

// migrated returns a configuration file that was made of an older one, and that boot
// itself finds nothing wrong with.
func migrated(t *testing.T, n *lab.Node) string {
	t.Helper()
	const from, to = "/root/old.yaml", "/root/new.yaml"
	n.WriteFile(t, from, oldConfig)
	out := refused(t, n, 3, "init", "--config", from)
	if !strings.Contains(out.Stderr, "boot config migrate") {
		t.Errorf("nothing says what to do with an old file:\n%s", out.Stderr)
	}
	n.Boot(t, "config", "migrate", "--old-config", from, "--new-config", to)
	n.Boot(t, "config", "validate", to)
	return to
}

// refused runs boot, which is to end with a code, and returns what it said.
func refused(t *testing.T, n *lab.Node, code int, args ...string) lab.Output {
	t.Helper()
	out, err := n.Try(t.Context(), append([]string{lab.BootBinary(t)}, args...)...)
	if err != nil || out.Code != code {
		t.Fatalf("boot %s: %v, exit code %d\n%s%s", strings.Join(args, " "), err, out.Code, out.Stdout, out.Stderr)
	}
	return out
}

// checkUser makes a kubeconfig that is good for what its user's group may do, and
// nothing else.
func checkUser(t *testing.T, n *lab.Node) {
	const conf = "/root/jane.conf"
	n.WriteFile(t, conf, n.Boot(t, "kubeconfig", "user", "--client-name", "jane", "--org", "developers", "--validity-period", "1h"))
	jane := func(args ...string) (lab.Output, error) {
		return n.Try(t.Context(), append([]string{lab.Component(t, "bin/kubectl"), "--kubeconfig", conf}, args...)...)
	}
	if out, err := jane("get", "pods"); err != nil || out.Code == 0 || !strings.Contains(out.Stderr, `User "jane" cannot list`) {
		t.Errorf("without any right: %v, %+v", err, out)
	}
	n.Kubectl(t, "create", "clusterrolebinding", "developers", "--clusterrole", "view", "--group", "developers")
	lab.Until(t, patience, "see the group's right", func(context.Context) error {
		if out, err := jane("get", "pods", "-A"); err != nil || !strings.Contains(out.Stdout, "etcd-head") {
			return fmt.Errorf("%w: %+v", err, out)
		}
		return nil
	})
	if out, err := jane("get", "secrets", "-A"); err != nil || out.Code == 0 || !strings.Contains(out.Stderr, "cannot list") {
		t.Errorf("beyond the group's right: %v, %+v", err, out)
	}
}

// A neededImage is what "boot images list -o json" says of one.
type neededImage struct {
	Image   string `json:"image"`
	Engine  bool   `json:"engine"`
	Archive string `json:"archive"`
}

func images(t *testing.T, n *lab.Node) map[string]neededImage {
	t.Helper()
	var all []neededImage
	if err := json.Unmarshal([]byte(n.Boot(t, "images", "list", "-o", "json")), &all); err != nil {
		t.Fatal(err)
	}
	byName := map[string]neededImage{}
	for _, n := range all {
		byName[n.Image] = n
	}
	if len(byName) != 7 {
		t.Errorf("images %v", all)
	}
	return byName
}

// checkBundle brings the images from one host to another: all or nothing of them.
func checkBundle(t *testing.T, from, to *lab.Node) {
	for image, where := range images(t, from) {
		if !where.Engine {
			t.Errorf("the engine that runs the cluster has no %s", image)
		}
	}
	const part = "/root/part.tar.zst"
	from.Boot(t, "images", "bundle", "/root/images.tar.zst")
	whole := from.ReadFile(t, "/root/images.tar.zst")
	to.WriteFile(t, part, whole[:len(whole)/2])
	if out := refused(t, to, 1, "images", "import", part); !strings.Contains(out.Stderr, "nothing was imported") {
		t.Errorf("half an archive: %s", out.Stderr)
	}
	for image, where := range images(t, to) {
		if where.Engine || where.Archive != "" {
			t.Errorf("half an archive brought %s: %+v", image, where)
		}
	}
	piped(t, from, to)
	for image, where := range images(t, to) {
		if where.Archive != "/var/lib/boot/images/images.tar.zst" {
			t.Errorf("%s is said to be in %+v", image, where)
		}
	}
	// Before it is a node, an engine is started for it, and ended again.
	if said := to.Boot(t, "config", "images", "pull"); strings.Count(said, "Pulled ") != 7 {
		t.Errorf("pulled: %s", said)
	}
	if left := to.Find(t, "containerd"); len(left) > 0 {
		t.Errorf("%v still runs", left)
	}
}

// piped imports on one host what another one bundles.
func piped(t *testing.T, from, to *lab.Node) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	bundle := from.Command(t.Context(), lab.BootBinary(t), "images", "bundle", "-", "--image", testImage)
	take := to.Command(t.Context(), lab.BootBinary(t), "images", "import", "-")
	var said strings.Builder
	bundle.Stdout, bundle.Stderr = w, os.Stderr
	take.Stdin, take.Stdout, take.Stderr = r, &said, &said
	lab.Must(t, from.Start(bundle))
	lab.Must(t, to.Start(take))
	lab.Must(t, w.Close())
	lab.Must(t, r.Close())
	if err := bundle.Wait(); err != nil {
		t.Errorf("bundle: %v", err)
	}
	if err := take.Wait(); err != nil || !strings.Contains(said.String(), "8 images are in") {
		t.Errorf("import: %v: %s", err, said.String())
	}
}
