package discovery

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"boot.internal/config"
)

// wants returns the options of a node that wants to join the cluster.
func (c *cluster) wants(t *testing.T) Options {
	t.Helper()
	j := &config.Join{}
	j.Join.NodeRegistration.Name = "worker"
	j.Join.Discovery.BootstrapToken = &config.BootstrapTokenDiscovery{
		Token: token, APIServerEndpoint: c.address(), CACertHashes: []string{Hash(c.ca.cert)},
	}
	j.Join.Discovery.TLSBootstrapToken = token
	j.Join.Timeouts = &config.Timeouts{ // nobody waits for the end of these
		Discovery: &metav1.Duration{Duration: time.Minute}, KubernetesAPICall: &metav1.Duration{Duration: time.Minute},
	}
	return Options{Config: j, Kubeconfig: filepath.Join(t.TempDir(), "kubelet.conf")}
}

// soon has a node give up that would hope for a cluster to come. Mostly there is time
// for an answer before that.
func soon(o *Options) { o.Config.Join.Timeouts.Discovery.Duration = 3 * time.Second }

func TestFindByToken(t *testing.T) {
	c := newCluster(t)
	found, err := Find(t.Context(), c.wants(t))
	if err != nil {
		t.Fatal(err)
	}
	if found.Server != c.URL || string(found.CA) != string(c.ca.pem) || found.Joined || found.Host() != c.address() {
		t.Errorf("found %+v", found)
	}
	if dns := found.Shared.Kubelet.ClusterDNS; len(dns) != 1 || found.Shared.KubeProxy != nil || found.Shared.Boot != nil {
		t.Errorf("it says %+v", found.Shared)
	}
	conf, err := found.Kubeconfig("https://127.0.0.1:1", "kubernetes")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"server: https://127.0.0.1:1", "tls-server-name: kubernetes", "token: " + token} {
		if !strings.Contains(string(conf), want) {
			t.Errorf("the kubeconfig lacks %q", want)
		}
	}
}

// Each way not to join has its own error, with a hint, and is found soon.
func TestRefusals(t *testing.T) {
	for name, c := range map[string]struct {
		but  func(t *testing.T, c *cluster, o *Options)
		kind error
		says string
	}{
		"unknown token": {func(_ *testing.T, c *cluster, o *Options) {
			soon(o)
			delete(c.info.Data, "jws-kubeconfig-"+tokenID)
		}, ErrToken, "has no token abcdef: it has expired or is mistyped"},
		"wrong secret": {func(t *testing.T, c *cluster, _ *Options) {
			c.signs(t, tokenID, "fedcba9876543210")
		}, ErrToken, "has a token abcdef, but with another secret"},
		"wrong hash": {func(_ *testing.T, _ *cluster, o *Options) {
			o.Config.Join.Discovery.BootstrapToken.CACertHashes = []string{"sha256:" + strings.Repeat("0", 64)}
		}, ErrAuthority, "and not the one that is pinned"},
		"token ends in between": {func(_ *testing.T, c *cluster, _ *Options) { c.tokens = nil }, ErrToken, "does not accept the token"},
		"nobody listens": {func(_ *testing.T, c *cluster, o *Options) {
			soon(o)
			c.Close()
		}, ErrUnreachable, "connection refused"},
		"nobody answers": {func(t *testing.T, _ *cluster, o *Options) {
			soon(o)
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = l.Close() })
			o.Config.Join.Discovery.BootstrapToken.APIServerEndpoint = l.Addr().String()
		}, ErrUnreachable, "reach the API server"},
		"no TLS": {func(t *testing.T, _ *cluster, o *Options) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = l.Close() })
			go func() {
				for conn, err := l.Accept(); err == nil; conn, err = l.Accept() {
					_, _ = conn.Read(make([]byte, 1<<14)) // to close with something unread is to break off
					_, _ = conn.Write([]byte("HTTP/1.0 400 Bad Request\r\n\r\n"))
					_ = conn.Close()
				}
			}()
			o.Config.Join.Discovery.BootstrapToken.APIServerEndpoint = l.Addr().String()
		}, ErrUntrusted, "does not speak TLS"},
		"impostor with another certificate": {func(t *testing.T, c *cluster, _ *Options) {
			cert, key := newAuthority(t).leaf(t, "kube-apiserver")
			c.TLS.Certificates[0] = pairFrom(t, cert, key)
		}, ErrUntrusted, "a certificate that can not be trusted"},
		"clock behind": {func(_ *testing.T, c *cluster, _ *Options) {
			c.date = time.Now().Add(2 * time.Hour)
		}, ErrClock, "the clock of this host is 2h0m0s behind that of"},
		"clock ahead": {func(_ *testing.T, c *cluster, _ *Options) {
			c.date = time.Now().Add(-time.Hour)
		}, ErrClock, "the clock of this host is 1h0m"},
		"strangers may not read": {func(_ *testing.T, c *cluster, _ *Options) { c.strange = 403 }, ErrNotJoinable, "does not show its ConfigMap cluster-info to strangers"},
		"no cluster-info": {func(_ *testing.T, c *cluster, o *Options) {
			soon(o)
			c.strange = 404
		}, ErrNotJoinable, "does not show the ConfigMap cluster-info"},
		"no kubeadm-config": {func(_ *testing.T, c *cluster, _ *Options) {
			delete(c.maps, "kubeadm-config")
		}, ErrNotJoinable, "kube-system/kubeadm-config"},
		"old kubeadm-config": {func(_ *testing.T, c *cluster, _ *Options) {
			c.maps["kubeadm-config"].Data["ClusterConfiguration"] = document("kubeadm.k8s.io/v1beta2", "ClusterConfiguration")
		}, ErrNotJoinable, "v1beta2"},
		"name taken": {func(_ *testing.T, c *cluster, _ *Options) {
			c.nodes["worker"] = nodeWith(corev1.ConditionTrue)
		}, ErrNameTaken, "has a node worker, and it is Ready"},
		"cluster too old": {func(_ *testing.T, c *cluster, _ *Options) {
			c.maps["kubeadm-config"].Data["ClusterConfiguration"] = document(config.KubeadmAPIVersion, "ClusterConfiguration") + "kubernetesVersion: v1.30.0\n"
		}, ErrVersion, "too far apart"},
		"found, and then too slow": {func(_ *testing.T, _ *cluster, o *Options) {
			o.Config.Join.Timeouts.KubernetesAPICall.Duration = time.Nanosecond
		}, ErrUnreachable, "reach the API server"},
		"node of another cluster": {func(t *testing.T, _ *cluster, o *Options) {
			writeOwn(t, o.Kubeconfig, newAuthority(t), "worker")
		}, ErrMember, "of another cluster"},
		"was to be a node of another cluster": {func(t *testing.T, _ *cluster, o *Options) {
			writeOwn(t, o.Kubeconfig, newAuthority(t), "")
		}, ErrMember, "of another cluster"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cl := newCluster(t)
			o := cl.wants(t)
			c.but(t, cl, &o)
			_, err := Find(t.Context(), o)
			for limit := &o.Config.Join.Timeouts.Discovery.Duration; !errors.Is(err, c.kind) && *limit < time.Minute; {
				*limit *= 4 // it gave up before there was an answer
				_, err = Find(t.Context(), o)
			}
			var h interface{ Hint() string }
			if !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.says) || !errors.As(err, &h) || h.Hint() == "" {
				t.Errorf("error %v, want %v that says %q and has a hint", err, c.kind, c.says)
			}
			if strings.Contains(err.Error(), tokenSecret) {
				t.Error("it tells the token")
			}
		})
	}
}

// A node that is away, or gone, may be replaced by whoever has a token.
func TestNameOfAbsentNodeIsFree(t *testing.T) {
	c := newCluster(t)
	c.nodes["worker"] = nodeWith(corev1.ConditionUnknown)
	if _, err := Find(t.Context(), c.wants(t)); err != nil {
		t.Error(err)
	}
}

// The signature may come some moments after the token was made.
func TestWaitsForSignature(t *testing.T) {
	c := newCluster(t)
	signature := c.info.Data["jws-kubeconfig-"+tokenID]
	delete(c.info.Data, "jws-kubeconfig-"+tokenID)
	time.AfterFunc(50*time.Millisecond, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.info.Data["jws-kubeconfig-"+tokenID] = signature
	})
	o := c.wants(t)
	if _, err := Find(t.Context(), o); err != nil {
		t.Error(err)
	}
}

// A node that has joined needs no token any more, and its own name is not taken.
func TestJoinedNodeNeedsNoToken(t *testing.T) {
	c := newCluster(t)
	delete(c.info.Data, "jws-kubeconfig-"+tokenID)
	c.tokens = nil
	c.nodes["worker"] = nodeWith(corev1.ConditionTrue)
	o := c.wants(t)
	writeOwn(t, o.Kubeconfig, c.ca, "worker")
	found, err := Find(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if !found.Joined {
		t.Error("it does not know that it has joined")
	}
	for node, want := range map[string]bool{"worker": true, "another": false} {
		if joined, err := Joined(o.Kubeconfig, node, c.ca.pem); joined != want || err != nil {
			t.Errorf("Joined(%s) is %t, %v", node, joined, err)
		}
	}
	if _, err := Joined(o.Kubeconfig, "worker", newAuthority(t).pem); !errors.Is(err, ErrMember) {
		t.Errorf("of another cluster: %v", err)
	}
}

// A node whose certificate is of the authority that took the place of the one it
// trusts shows who vouches for that.
func TestJoinedByASuccessor(t *testing.T) {
	before, after := newAuthority(t), newAuthority(t)
	_, cross := sign(t, after.cert, before.cert, after.key, before.key)
	cert, key := after.leaf(t, "system:node:worker")
	for name, c := range map[string]struct {
		trusts *authority
		shows  []byte
		joined bool
	}{
		"who trusts the new one":               {after, nil, true},
		"who trusts the old one":               {before, nil, false},
		"who trusts the old one, and is shown": {before, cross, true},
	} {
		path := filepath.Join(t.TempDir(), "kubelet.conf")
		writeOwn(t, path, c.trusts, "worker")
		if err := os.WriteFile(filepath.Join(filepath.Dir(path), "client.pem"), slices.Concat(cert, c.shows, key), 0o600); err != nil {
			t.Fatal(err)
		}
		if joined, err := Joined(path, "worker", c.trusts.pem); joined != c.joined || err != nil {
			t.Errorf("%s: %t, %v", name, joined, err)
		}
	}
}

func TestFindByFile(t *testing.T) {
	c := newCluster(t)
	byFile := func(t *testing.T, ca []byte, user *clientcmdapi.AuthInfo) Options {
		o := c.wants(t)
		path := filepath.Join(t.TempDir(), "cluster.conf")
		conf := clientcmdapi.Config{Clusters: map[string]*clientcmdapi.Cluster{"c": {Server: c.URL, CertificateAuthorityData: ca}}}
		if user != nil {
			conf.AuthInfos = map[string]*clientcmdapi.AuthInfo{"u": user}
			conf.Contexts, conf.CurrentContext = map[string]*clientcmdapi.Context{"x": {Cluster: "c", AuthInfo: "u"}}, "x"
		}
		if err := clientcmd.WriteToFile(conf, path); err != nil {
			t.Fatal(err)
		}
		o.Config.Join.Discovery.BootstrapToken, o.Config.Join.Discovery.File = nil, &config.FileDiscovery{KubeConfigPath: path}
		return o
	}
	t.Run("and a token", func(t *testing.T) {
		if found, err := Find(t.Context(), byFile(t, c.ca.pem, nil)); err != nil || found.login.Token != token {
			t.Errorf("found %+v, %v", found, err)
		}
	})
	t.Run("with credentials", func(t *testing.T) {
		o := byFile(t, c.ca.pem, &clientcmdapi.AuthInfo{Token: token})
		o.Config.Join.Discovery.TLSBootstrapToken = ""
		if found, err := Find(t.Context(), o); err != nil || found.login.Token != token {
			t.Errorf("found %+v, %v", found, err)
		}
	})
	t.Run("of another authority", func(t *testing.T) {
		if _, err := Find(t.Context(), byFile(t, newAuthority(t).pem, nil)); !errors.Is(err, ErrUntrusted) {
			t.Error(err)
		}
	})
	t.Run("without an authority", func(t *testing.T) {
		if _, err := Find(t.Context(), byFile(t, nil, nil)); !errors.Is(err, ErrUntrusted) {
			t.Error(err)
		}
	})
	t.Run("that is not there", func(t *testing.T) {
		o := byFile(t, c.ca.pem, nil)
		o.Config.Join.Discovery.File.KubeConfigPath = "/no/such/file"
		if _, err := Find(t.Context(), o); !errors.Is(err, ErrNotJoinable) {
			t.Error(err)
		}
	})
	t.Run("whose cluster hides from strangers", func(t *testing.T) {
		c.strange = 403
		defer func() { c.strange = 0 }()
		if _, err := Find(t.Context(), byFile(t, c.ca.pem, nil)); err != nil {
			t.Error(err)
		}
	})
}

func TestVersionsThatFit(t *testing.T) {
	for _, c := range []struct {
		cluster string
		fits    bool
	}{
		{"v1.37.0", true}, {"v1.36.9", true}, {"v1.40.0", true}, {"v1.35.9", false}, {"v1.41.0", false}, {"v2.37.0", false}, {"", false},
	} {
		if err := fits("v1.37.2", c.cluster); (err == nil) != c.fits || err != nil && !errors.Is(err, ErrVersion) {
			t.Errorf("fits(%q): %v", c.cluster, err)
		}
	}
}

func nodeWith(ready corev1.ConditionStatus) *corev1.Node {
	return &corev1.Node{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Node"},
		Status:   corev1.NodeStatus{Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: ready}}},
	}
}

// writeOwn writes the kubeconfig of a node, with its certificate if it has one.
func writeOwn(t *testing.T, path string, ca *authority, node string) {
	t.Helper()
	pki := filepath.Join(filepath.Dir(path), "client.pem")
	if node != "" {
		cert, key := ca.leaf(t, "system:node:"+node)
		if err := os.WriteFile(pki, append(cert, key...), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := clientcmd.WriteToFile(clientcmdapi.Config{
		Clusters:  map[string]*clientcmdapi.Cluster{"c": {Server: "https://10.0.0.1:6443", CertificateAuthorityData: ca.pem}},
		AuthInfos: map[string]*clientcmdapi.AuthInfo{"u": {ClientCertificate: pki, ClientKey: pki}},
		Contexts:  map[string]*clientcmdapi.Context{"x": {Cluster: "c", AuthInfo: "u"}}, CurrentContext: "x",
	}, path); err != nil {
		t.Fatal(err)
	}
}
