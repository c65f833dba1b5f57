package kubelet

import (
	"os"
	"path/filepath"
	"testing"

	"boot.internal/config"
)

// A kubeconfig that leads to the balancer needs one, whatever else is configured.
func TestReliesOnBalancer(t *testing.T) {
	for server, want := range map[string]bool{
		config.LocalAPI("192.0.2.1"): true, config.LocalAPI("2001:db8::1"): true,
		"https://192.0.2.1:7443": false, "https://127.0.0.1:6443": false, "https://api.example:6443": false,
	} {
		path := filepath.Join(t.TempDir(), "kubelet.conf")
		text := "apiVersion: v1\nkind: Config\ncurrent-context: c\ncontexts: [{name: c, context: {cluster: c, user: u}}]\n" +
			"users: [{name: u}]\nclusters: [{name: c, cluster: {server: " + `"` + server + `"` + "}}]\n"
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		k := &kubelet{o: Options{Kubeconfig: path}}
		if got := k.reliesOnBalancer(); got != want {
			t.Errorf("%s: %v", server, got)
		}
	}
	if (&kubelet{o: Options{Kubeconfig: filepath.Join(t.TempDir(), "none")}}).reliesOnBalancer() {
		t.Error("no kubeconfig leads anywhere")
	}
}
