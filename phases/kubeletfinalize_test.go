package phases

import (
	"os"
	"path/filepath"
	"testing"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// A kubeconfig with a certificate of its own names the one that is renewed, once
// there is one.
func TestClientRotation(t *testing.T) {
	dir := t.TempDir()
	p := clientRotation{filepath.Join(dir, "kubelet.conf"), filepath.Join(dir, "kubelet-client-current.pem")}
	planned := func() []Change {
		t.Helper()
		changes, err := p.Plan(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return changes
	}
	if got := planned(); len(got) != 0 {
		t.Errorf("nothing is there: %v", got)
	}
	if err := clientcmd.WriteToFile(clientcmdapi.Config{
		Clusters:       map[string]*clientcmdapi.Cluster{"c": {Server: "https://192.0.2.1:6443"}},
		AuthInfos:      map[string]*clientcmdapi.AuthInfo{"u": {ClientCertificateData: []byte("x"), ClientKeyData: []byte("y")}},
		Contexts:       map[string]*clientcmdapi.Context{"x": {Cluster: "c", AuthInfo: "u"}},
		CurrentContext: "x",
	}, p.kubeconfig); err != nil {
		t.Fatal(err)
	}
	if got := planned(); len(got) != 0 {
		t.Errorf("nobody renews it: %v", got)
	}
	if err := os.WriteFile(p.current, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	changes := planned()
	if len(changes) != 1 || changes[0].Desc != "name "+p.current+" in "+p.kubeconfig {
		t.Fatalf("changes %v", changes)
	}
	if err := changes[0].Apply(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := planned(); len(got) != 0 {
		t.Errorf("again: %v", got)
	}
	conf, err := clientcmd.LoadFromFile(p.kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	if u := conf.AuthInfos["u"]; u.ClientCertificate != p.current || u.ClientKey != p.current || len(u.ClientKeyData) != 0 {
		t.Errorf("user %+v", u)
	}
}
