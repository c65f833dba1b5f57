package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"boot.internal/e2e/internal/lab"
)

// TestBalancer has a worker that reaches whichever of three control planes lives.
func TestBalancer(t *testing.T) {
	f := newFleet(t, 3, 1)
	worker := f.workers[0]
	f.reach(t, worker)
	f.awaitMembers(t, f.heads...)
	t.Run("API servers are learned and remembered", func(t *testing.T) { f.awaitRemembered(t, worker) })
	if t.Failed() {
		return
	}
	t.Run("the one in use vanishes without a word", func(t *testing.T) { f.vanish(t, worker) })
	t.Run("a node restarts without the one it has joined by", func(t *testing.T) { f.seedless(t, worker) })
	t.Run("a control plane goes on without its own", func(t *testing.T) { f.ownless(t, f.heads[2]) })
}

// servers are the addresses of the API servers.
func (f *fleet) servers() []string {
	var all []string
	for _, h := range f.heads {
		all = append(all, net.JoinHostPort(h.IP.String(), "6443"))
	}
	slices.Sort(all)
	return all
}

// apiServersFile is where a node remembers them.
const apiServersFile = "/var/lib/boot/apiservers.json"

// awaitRemembered waits until a node has all API servers on its disk.
func (f *fleet) awaitRemembered(t *testing.T, n *lab.Node) {
	lab.Until(t, patience, "see the API servers remembered", func(context.Context) error {
		if !n.Exists(t, apiServersFile) {
			return errors.New("there is no file")
		}
		var record struct{ Servers []struct{ Address string } }
		if err := json.Unmarshal([]byte(n.ReadFile(t, apiServersFile)), &record); err != nil {
			return err
		}
		var got []string
		for _, s := range record.Servers {
			got = append(got, s.Address)
		}
		slices.Sort(got)
		if !slices.Equal(got, f.servers()) {
			return fmt.Errorf("remembered are %q", got)
		}
		return nil
	})
}

// vanish parts the control plane that a worker uses from all others. Those who
// are connected to it are not told.
func (f *fleet) vanish(t *testing.T, worker *lab.Node) {
	used := f.inUse(t, worker)
	i := slices.IndexFunc(f.heads, func(h *lab.Node) bool { return strings.HasPrefix(used, h.IP.String()+":") })
	if i < 0 {
		t.Fatalf("the worker uses %q", used)
	}
	m := newMesh(t, f, f.heads[(i+1)%3], worker)
	m.AwaitReady(t, m.pods[0])
	w := write(t, f.hasty, m.Namespace)
	calm := w.awaitMore(t, 20)
	lab.Must(t, f.lan.Split(f.heads[i]))
	w.awaitAgain(t, calm, "without "+f.heads[i].Name)
	w.end()
	f.goesOn(t, m, "vanished")
	lab.Must(t, f.lan.Heal(f.heads[i]))
	f.awaitMembers(t, f.heads...)
}

// goesOn has the kubelet and kube-proxy of the worker do something new.
func (f *fleet) goesOn(t *testing.T, m *mesh, name string) {
	t.Helper()
	p := boxPod(name, "http", ":8080")
	p.Labels = map[string]string{"app": "web"}
	p.Spec.NodeName = f.workers[0].Name
	m.Create(t, p)
	m.AwaitReady(t, name)
	m.serve(t, name, "")
	s, err := m.Client.CoreV1().Services(m.Namespace).Get(t.Context(), name, metav1.GetOptions{})
	lab.Must(t, err)
	m.ExecUntil(t, name, "get", "http://"+net.JoinHostPort(s.Spec.ClusterIP, "80")+"/hostname")
}

// inUse returns the API server that a node uses, as the node says itself.
func (f *fleet) inUse(t *testing.T, n *lab.Node) (server string) {
	t.Helper()
	lab.Until(t, patience, "see which API server is used", func(ctx context.Context) error {
		text, err := f.client.CoreV1().RESTClient().Get().AbsPath("/api/v1/nodes/" + n.Name + "/proxy/metrics").DoRaw(ctx)
		if err != nil {
			return err
		}
		for lines := bufio.NewScanner(strings.NewReader(string(text))); lines.Scan(); {
			rest, ok := strings.CutPrefix(lines.Text(), `boot_api_server_connections{server="`)
			if address, number, _ := strings.Cut(rest, `"} `); ok && number != "0" {
				server = address
				return nil
			}
		}
		return fmt.Errorf("there is none")
	})
	return server
}

// seedless restarts a worker while the control plane it has joined by is away.
func (f *fleet) seedless(t *testing.T, worker *lab.Node) {
	lab.Must(t, f.heads[0].PowerOff())
	lab.Must(t, worker.Restart())
	lab.Until(t, patience, "reach the API through "+worker.Name, func(ctx context.Context) error {
		_, err := f.client.CoreV1().Nodes().Get(ctx, worker.Name, metav1.GetOptions{})
		return err
	})
	m := newMesh(t, f, f.heads[1], worker)
	m.AwaitReady(t, m.pods[0])
	lab.Must(t, f.heads[0].PowerOn())
	f.awaitMembers(t, f.heads...)
	f.awaitNodes(t, f.nodes()...)
}

// ownless stops the API server of a control plane: its kubelet uses another.
func (f *fleet) ownless(t *testing.T, head *lab.Node) {
	const manifest, away = "/etc/kubernetes/manifests/kube-apiserver.yaml", "/root/kube-apiserver.yaml"
	own := net.JoinHostPort(head.IP.String(), "6443")
	lab.Until(t, 2*patience, "see it use its own", func(context.Context) error {
		if used := f.inUse(t, head); used != own {
			return fmt.Errorf("%s is used", used)
		}
		return nil
	})
	head.Rename(t, manifest, away)
	lab.Until(t, 2*patience, "see it use another", func(context.Context) error {
		if used := f.inUse(t, head); used == own {
			return fmt.Errorf("%s is used", used)
		}
		return nil
	})
	head.Rename(t, away, manifest)
	lab.Until(t, 2*patience, "see it use its own again", func(context.Context) error {
		if used := f.inUse(t, head); used != own {
			return fmt.Errorf("%s is used", used)
		}
		return nil
	})
}
