package phases

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"boot.internal/certs"
	"boot.internal/config"
)

// The probes speak with what the certificates phase made: here to servers that
// insist on it.
func TestProbesUseTheCertificates(t *testing.T) {
	w := running(t, "")
	if err := askAPIServer(t.Context(), w.api()); err != nil {
		t.Error(err)
	}
	etcd := etcdServer(t, w.tree())
	if err := askEtcd(t.Context(), etcd, w.tree()); err != nil {
		t.Error(err)
	}
	if err := askEtcd(t.Context(), etcd, running(t, "").tree()); err == nil {
		t.Error("etcd is healthy to the clients of another cluster")
	}
	w.server.Close()
	if err := askAPIServer(t.Context(), w.api()); err == nil || !strings.Contains(err.Error(), "/livez") {
		t.Error(err)
	}
}

// etcdServer serves with etcd's certificate, for clients that have one.
func etcdServer(t *testing.T, tree certs.Paths) string {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(tree.EtcdServer.Cert, tree.EtcdServer.Key)
	if err != nil {
		t.Fatal(err)
	}
	ca, err := os.ReadFile(tree.EtcdCA.Cert)
	if err != nil {
		t.Fatal(err)
	}
	clients := x509.NewCertPool()
	clients.AppendCertsFromPEM(ca)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/health" || r.TLS.PeerCertificates[0].Subject.CommonName != "kube-etcd-healthcheck-client" {
			w.WriteHeader(http.StatusForbidden)
		}
	}))
	s.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, ClientCAs: clients, ClientAuth: tls.RequireAndVerifyClientCert}
	s.StartTLS()
	t.Cleanup(s.Close)
	return s.URL + "/health"
}

func TestProbeAnswers(t *testing.T) {
	for _, tt := range []struct {
		name, body string
		code       int
		want       string
	}{
		{"healthy", "ok", 200, ""},
		{"verbose", "[+]ping ok\n[-]etcd failed: reason withheld\n[+]log ok\n[-]poststarthook/rbac failed: not finished\nreadyz check failed\n", 500, "500: [-]etcd failed: reason withheld, [-]poststarthook/rbac failed: not finished"},
		{"etcd", `{"health":"false","reason":"RAFT NO LEADER"}`, 503, `503: {"health":"false","reason":"RAFT NO LEADER"}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(tt.code)
				_, _ = fmt.Fprint(w, tt.body)
			}))
			defer s.Close()
			host, port, err := net.SplitHostPort(s.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			err = local([]config.Arg{{Name: "bind-address", Value: host}, {Name: "secure-port", Value: port}}, "10257")(t.Context())
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.HasSuffix(err.Error(), tt.want)) {
				t.Error(err)
			}
		})
	}
}

func TestWhereEtcdIsAsked(t *testing.T) {
	for _, tt := range []struct{ address, urls, want string }{
		{"192.0.2.10", "", "https://127.0.0.1:2379/health"},
		{"2001:db8::10", "", "https://[::1]:2379/health"},
		{"192.0.2.10", "https://192.0.2.10:12379/,https://127.0.0.1:2379", "https://192.0.2.10:12379/health"},
	} {
		cfg := &config.Init{Cluster: config.ClusterConfiguration{Etcd: config.Etcd{Local: &config.LocalEtcd{}}}}
		cfg.Init.LocalAPIEndpoint.AdvertiseAddress = tt.address
		if tt.urls != "" {
			cfg.Cluster.Etcd.Local.ExtraArgs = []config.Arg{{Name: "listen-client-urls", Value: tt.urls}}
		}
		if got := etcdHealth(cfg); got != tt.want {
			t.Errorf("%s, %s: %s", tt.address, tt.urls, got)
		}
	}
}

func TestProbesOfAConfiguration(t *testing.T) {
	for _, tt := range []struct {
		name string
		etcd config.Etcd
		want string
	}{
		{"local etcd", config.Etcd{Local: &config.LocalEtcd{}}, "etcd kube-apiserver kube-controller-manager kube-scheduler"},
		{"external etcd", config.Etcd{External: &config.ExternalEtcd{}}, "kube-apiserver kube-controller-manager kube-scheduler"},
	} {
		var pods []string
		for _, p := range probes(&config.Init{Cluster: config.ClusterConfiguration{Etcd: tt.etcd}}, apiServer{}, newWorld(t, "").tree()) {
			pods = append(pods, p.pod)
		}
		if got := strings.Join(pods, " "); got != tt.want {
			t.Errorf("%s: %s", tt.name, got)
		}
	}
}

// An API server without etcd takes connections and leaves it at that.
func TestWaitPlanIsNotKeptByWhoDoesNotAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		silent := func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
		changes, err := (&waitControlPlane{probes: []probe{{"a", silent}, healthyAfter("b", 0), {"c", silent}}}).Plan(t.Context())
		if err != nil || len(changes) != 1 || changes[0].Desc != "wait for a, c" {
			t.Errorf("changes %v, %v", changes, err)
		}
		if took := time.Since(begin); took > planTimeout {
			t.Errorf("it took %s", took)
		}
	})
}
