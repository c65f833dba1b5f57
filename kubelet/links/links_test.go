package links

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"boot.internal/kubelet/pod"
)

func newLinks() *Links { return New(Options{Log: slog.New(slog.DiscardHandler)}) }

func serviceOf(ns, name, ip string, ports ...v1.ServicePort) *v1.Service {
	return &v1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name},
		Spec:       v1.ServiceSpec{ClusterIP: ip, Ports: ports},
	}
}

func apiPod(ns string) *v1.Pod {
	return &v1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "p", Annotations: map[string]string{pod.ConfigSource: pod.SourceAPI}}}
}

func staticPod(ns string) *v1.Pod {
	p := apiPod(ns)
	p.Annotations[pod.ConfigSource] = pod.SourceFile
	return p
}

// world holds services of two namespaces and the API server's.
func world() []any {
	return []any{
		serviceOf("default", "kubernetes", "10.96.0.1", v1.ServicePort{Name: "https", Port: 443, Protocol: v1.ProtocolTCP}),
		serviceOf("default", "other", "10.96.0.9", v1.ServicePort{Port: 1}),
		serviceOf("shop", "my-db", "10.96.0.2",
			v1.ServicePort{Name: "sql", Port: 5432, Protocol: v1.ProtocolTCP}, v1.ServicePort{Name: "gossip-udp", Port: 7946, Protocol: v1.ProtocolUDP}),
		serviceOf("shop", "six", "fd00::6", v1.ServicePort{Port: 80}),
		serviceOf("shop", "headless", v1.ClusterIPNone, v1.ServicePort{Port: 80}),
		serviceOf("shop", "named", "", v1.ServicePort{Port: 80}),
		serviceOf("shop", "bare", "10.96.0.3"),
	}
}

const apiServer = `KUBERNETES_SERVICE_HOST=10.96.0.1
KUBERNETES_SERVICE_PORT=443
KUBERNETES_SERVICE_PORT_HTTPS=443
KUBERNETES_PORT=tcp://10.96.0.1:443
KUBERNETES_PORT_443_TCP=tcp://10.96.0.1:443
KUBERNETES_PORT_443_TCP_PROTO=tcp
KUBERNETES_PORT_443_TCP_PORT=443
KUBERNETES_PORT_443_TCP_ADDR=10.96.0.1
`

func text(env []v1.EnvVar) string {
	var out strings.Builder
	for _, e := range env {
		out.WriteString(e.Name + "=" + e.Value + "\n")
	}
	return out.String()
}

func TestVariables(t *testing.T) {
	l := newLinks()
	if err := (store{l}).Replace(world(), ""); err != nil {
		t.Fatal(err)
	}
	shop := "BARE_SERVICE_HOST=10.96.0.3\n" + apiServer + `MY_DB_SERVICE_HOST=10.96.0.2
MY_DB_SERVICE_PORT=5432
MY_DB_SERVICE_PORT_SQL=5432
MY_DB_SERVICE_PORT_GOSSIP_UDP=7946
MY_DB_PORT=tcp://10.96.0.2:5432
MY_DB_PORT_5432_TCP=tcp://10.96.0.2:5432
MY_DB_PORT_5432_TCP_PROTO=tcp
MY_DB_PORT_5432_TCP_PORT=5432
MY_DB_PORT_5432_TCP_ADDR=10.96.0.2
MY_DB_PORT_7946_UDP=udp://10.96.0.2:7946
MY_DB_PORT_7946_UDP_PROTO=udp
MY_DB_PORT_7946_UDP_PORT=7946
MY_DB_PORT_7946_UDP_ADDR=10.96.0.2
SIX_SERVICE_HOST=fd00::6
SIX_SERVICE_PORT=80
SIX_PORT=tcp://[fd00::6]:80
SIX_PORT_80_TCP=tcp://[fd00::6]:80
SIX_PORT_80_TCP_PROTO=tcp
SIX_PORT_80_TCP_PORT=80
SIX_PORT_80_TCP_ADDR=fd00::6
`
	noLinks := apiPod("shop")
	noLinks.Spec.EnableServiceLinks = new(false)
	for _, c := range []struct {
		name string
		pod  *v1.Pod
		want string
	}{
		{"services of the namespace, and the API server", apiPod("shop"), shop},
		{"a static pod is told what is known", staticPod("shop"), shop},
		{"no service links, but the API server", noLinks, apiServer},
		{"a namespace without services", apiPod("empty"), apiServer},
	} {
		t.Run(c.name, func(t *testing.T) {
			env, err := l.Environment(t.Context(), c.pod)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, text(env)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestOwnServiceOfThatName has a namespace with its own service "kubernetes".
func TestOwnServiceOfThatName(t *testing.T) {
	l := newLinks()
	all := append(world(), serviceOf("mine", "kubernetes", "10.96.7.7"))
	if err := (store{l}).Replace(all, ""); err != nil {
		t.Fatal(err)
	}
	env, err := l.Environment(t.Context(), apiPod("mine"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff("KUBERNETES_SERVICE_HOST=10.96.7.7\n", text(env)); diff != "" {
		t.Error(diff)
	}
}

// TestEachOnce has two services whose variables meet.
func TestEachOnce(t *testing.T) {
	got := variables(map[string]service{
		"a":      {address: "1.1.1.1", ports: []port{{number: 80}}},
		"a-port": {address: "2.2.2.2", ports: []port{{number: 80, protocol: "TCP"}}},
	})
	seen := map[string]bool{}
	for _, v := range got {
		if seen[v.Name] {
			t.Errorf("%s twice", v.Name)
		}
		seen[v.Name] = true
	}
}

// SP-31: a static pod does not wait for services, a pod of the API does.
func TestBeforeServicesAreRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLinks()
		start := time.Now()
		if env, err := l.Environment(t.Context(), staticPod("shop")); err != nil || env != nil {
			t.Errorf("static pod: %v, %v; want nothing", env, err)
		}
		if waited := time.Since(start); waited != 0 {
			t.Errorf("static pod waited %s", waited)
		}
		if _, err := l.Environment(t.Context(), apiPod("shop")); !errors.Is(err, ErrNotRead) {
			t.Errorf("pod of the API: %v, want %v", err, ErrNotRead)
		}
		if waited := time.Since(start); waited != 10*time.Second {
			t.Errorf("pod of the API waited %s", waited)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := l.Environment(ctx, apiPod("shop")); !errors.Is(err, context.Canceled) {
			t.Errorf("canceled: %v", err)
		}
		time.AfterFunc(time.Second, func() { _ = store{l}.Replace(world(), "") })
		env, err := l.Environment(t.Context(), apiPod("none"))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(apiServer, text(env)); diff != "" {
			t.Error(diff)
		}
	})
}

// TestRun follows services that come, change and go.
func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first := serviceOf("shop", "web", "10.96.0.4", v1.ServicePort{Port: 80})
		client := fake.NewClientset(first)
		l := newLinks()
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); l.Run(ctx, client.CoreV1()) }()
		host := func() string {
			synctest.Wait()
			env, err := l.Environment(t.Context(), apiPod("shop"))
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range env {
				if e.Name == "WEB_SERVICE_HOST" {
					return e.Value
				}
			}
			return ""
		}
		services := client.CoreV1().Services("shop")
		if got := host(); got != "10.96.0.4" {
			t.Errorf("listed: %q", got)
		}
		changed := serviceOf("shop", "web", "10.96.0.5")
		if _, err := services.Update(ctx, changed, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
		if got := host(); got != "10.96.0.5" {
			t.Errorf("changed: %q", got)
		}
		changed.Spec.ClusterIP = v1.ClusterIPNone
		if _, err := services.Update(ctx, changed, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
		if got := host(); got != "" {
			t.Errorf("headless: %q", got)
		}
		if _, err := services.Create(ctx, serviceOf("shop", "web2", "10.96.0.6"), metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		if err := services.Delete(ctx, "web2", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if len(l.byName) != 0 {
			t.Errorf("left: %v", l.byName)
		}
		cancel()
		<-done
	})
}
