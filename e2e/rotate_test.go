package e2e

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	clientrest "k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"boot.internal/e2e/internal/lab"
)

// A rotating is a cluster whose authorities are rotated.
type rotating struct {
	*fleet
	old   map[string]string // authorities at first, by path
	admin string            // kubeconfig of the administrator at first
	pod   *patient
}

// authorityFiles are what a control plane trusts.
func authorityFiles() []string {
	return []string{"/etc/kubernetes/pki/ca.crt", "/etc/kubernetes/pki/front-proxy-ca.crt", "/etc/kubernetes/pki/etcd/ca.crt"}
}

// TestRotateCA rotates all authorities of a cluster, by a command that is killed and
// a loop that is, while somebody who only ever read the old one goes on.
func TestRotateCA(t *testing.T) {
	t.Parallel()
	r := &rotating{fleet: newFleet(t, 2, 1), old: map[string]string{}}
	for _, path := range authorityFiles() {
		r.old[path] = r.heads[0].ReadFile(t, path)
	}
	r.admin = r.heads[0].ReadFile(t, adminConf)
	p := boxPod("box", "sleep", "infinity")
	p.Spec.NodeName = "w1"
	r.create(t, p)
	r.pod = r.steady(t, r.workers[0])
	for _, s := range []struct {
		name string
		test func(*testing.T, *rotating)
	}{
		{"a dry run", checkRotateDryRun},
		{"killed on the way", checkRotateKilled},
		{"nothing is of the old", checkRotated},
		{"the old administrator", checkOldAdministrator},
		{"who only trusts the old", checkSteady},
		{"pods are reached", checkReached},
		{"a node joins", checkJoinsRotated},
	} {
		if !t.Run(s.name, func(t *testing.T) { s.test(t, r) }) {
			return
		}
	}
}

func checkRotateDryRun(t *testing.T, r *rotating) {
	out, err := r.heads[0].Try(t.Context(), lab.BootBinary(t), "certs", "rotate-ca", "--dry-run")
	if err != nil || out.Code != 0 || !strings.Contains(out.Stderr, "have cp2 sign with the new authorities") {
		t.Fatalf("%v, exit code %d\n%s%s", err, out.Code, out.Stdout, out.Stderr)
	}
	if r.heads[0].ReadFile(t, authorityFiles()[0]) != r.old[authorityFiles()[0]] {
		t.Error("something was done")
	}
}

// checkRotateKilled kills the command where it begins something, and at one of these
// places the loop of the node that is at it. Then it has it go on to the end.
func checkRotateKilled(t *testing.T, r *rotating) {
	for _, at := range []string{"[publish] create", "[trust/workers] have", "[issue/control-planes] have cp2", "[drop/control-planes] have cp1", "[finish] take"} {
		said := r.rotateUntil(t, at)
		t.Logf("killed at %q", said)
		if strings.HasPrefix(at, "[issue/") {
			r.killLoop(t, r.heads[1])
		}
	}
	begun := time.Now()
	if said := r.rotateUntil(t, ""); said != "" {
		t.Fatal(said)
	}
	t.Logf("the rest took %s", time.Since(begun).Round(time.Second))
}

// rotateUntil runs the command until it says something, and kills it then. Without,
// it has to succeed.
func (r *rotating) rotateUntil(t *testing.T, at string) (heard string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*patience)
	defer cancel()
	cmd := r.heads[0].Command(ctx, lab.BootBinary(t), "certs", "rotate-ca", "--yes")
	all := new(bytes.Buffer)
	_ = eachLine(r.heads[0], cmd, func(line string) { // its exit code tells
		fmt.Fprintln(all, time.Now().Format(time.TimeOnly), line)
		if at != "" && heard == "" && strings.HasPrefix(line, at) {
			heard = line
			_ = cmd.Process.Kill() // it may have ended
		}
	})
	if cmd.ProcessState == nil {
		t.Fatal("it was not started")
	}
	if code := cmd.ProcessState.ExitCode(); code != 0 && heard == "" || at != "" && heard == "" {
		t.Fatalf("exit code %d before %q:\n%s", code, at, all)
	}
	t.Logf("%s", all)
	return heard
}

// killLoop kills the loop of a node, which comes back.
func (r *rotating) killLoop(t *testing.T, n *lab.Node) {
	t.Helper()
	n.Kill(t, awaitLoop(t, n), syscall.SIGKILL)
}

// checkRotated looks at what nodes trust and hold.
func checkRotated(t *testing.T, r *rotating) {
	for _, n := range r.nodes() {
		for _, path := range authorityFiles() {
			if !n.Exists(t, path) {
				continue // a worker has one
			}
			now := n.ReadFile(t, path)
			if strings.Count(now, "BEGIN CERTIFICATE") != 1 || strings.Contains(now, strings.TrimSpace(r.old[path])) {
				t.Errorf("%s on %s:\n%s", path, n.Name, now)
			}
			if again := r.heads[0].ReadFile(t, path); again != now {
				t.Errorf("%s of %s and cp1 differ", path, n.Name)
			}
		}
		for _, left := range []string{"/var/lib/boot/ca-rotation.json", "/var/lib/boot/ca-rotation-recipient.key"} {
			if n.Exists(t, left) {
				t.Errorf("%s is left on %s", left, n.Name)
			}
		}
		r.checkKubelet(t, n)
	}
	out := r.heads[1].Run(t, lab.BootBinary(t), "certs", "check", "-o", "json")
	var all []listedCert
	if err := json.Unmarshal([]byte(out), &all); err != nil || len(all) < 10 {
		t.Errorf("%v\n%s", err, out)
	}
	nodes, err := r.newClient(t).CoreV1().Nodes().List(t.Context(), metav1.ListOptions{})
	lab.Must(t, err)
	for _, n := range nodes.Items {
		for key := range n.Annotations {
			if strings.HasPrefix(key, "boot.internal/ca-rotation") && key != "boot.internal/ca-rotation-follows" {
				t.Errorf("%s has the annotation %s", n.Name, key)
			}
		}
	}
	for _, m := range []string{"kube-system/extension-apiserver-authentication", "kube-public/cluster-info", "default/kube-root-ca.crt"} {
		r.checkForgotten(t, m)
	}
}

// newClient returns a client of the new administrator.
func (r *rotating) newClient(t testing.TB) *kubernetes.Clientset {
	return r.heads[0].Client(t, adminConf)
}

// checkKubelet looks at whom the node agent's certificates are signed by.
func (r *rotating) checkKubelet(t *testing.T, n *lab.Node) {
	t.Helper()
	block, _ := pem.Decode([]byte(n.ReadFile(t, authorityFiles()[0])))
	ca, err := x509.ParseCertificate(block.Bytes)
	lab.Must(t, err)
	block, _ = pem.Decode([]byte(n.ReadFile(t, "/var/lib/kubelet/pki/kubelet-client-current.pem")))
	c, err := x509.ParseCertificate(block.Bytes)
	lab.Must(t, err)
	if err := c.CheckSignatureFrom(ca); err != nil {
		t.Errorf("the client certificate of %s: %v", n.Name, err)
	}
}

// checkForgotten waits until a ConfigMap names no old authority any more.
func (r *rotating) checkForgotten(t *testing.T, name string) {
	t.Helper()
	namespace, name, _ := strings.Cut(name, "/")
	client := r.newClient(t)
	lab.Until(t, patience, "see ConfigMap "+name+" without the old authority", func(ctx context.Context) error {
		m, err := client.CoreV1().ConfigMaps(namespace).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		for key, text := range m.Data {
			if conf, err := clientcmd.Load([]byte(text)); key == "kubeconfig" && err == nil {
				text = string(conf.Clusters[""].CertificateAuthorityData)
			}
			for path, old := range r.old {
				if strings.Contains(text, strings.TrimSpace(old)) {
					return fmt.Errorf("%s has that of %s", key, path)
				}
			}
		}
		return nil
	})
}

// checkOldAdministrator is somebody with the kubeconfig of before.
func checkOldAdministrator(t *testing.T, r *rotating) {
	config, err := clientcmd.RESTConfigFromKubeConfig([]byte(r.admin))
	lab.Must(t, err)
	for _, head := range r.heads {
		config := clientrest.CopyConfig(config)
		config.Host, config.Dial = "https://"+head.IP.String()+":6443", head.Dial
		client, err := kubernetes.NewForConfig(config)
		lab.Must(t, err)
		lab.Until(t, patience, "hear what "+head.Name+" says to the old administrator", func(ctx context.Context) error {
			_, err := client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
			if err == nil {
				t.Errorf("%s answers the old administrator", head.Name)
			}
			if err == nil || apierrors.IsUnauthorized(err) {
				return nil
			}
			return err
		})
	}
}

// A patient is a workload that has read the old authority at its start, and asks the
// API through the balancer of its node.
type patient struct {
	stop  context.CancelFunc
	ended chan struct{}

	mu      sync.Mutex
	asked   int
	refused []string // answers that one more try does not put right
}

// steady starts a workload with a token.
func (r *rotating) steady(t *testing.T, n *lab.Node) *patient {
	t.Helper()
	ctx := t.Context()
	accounts := r.client.CoreV1().ServiceAccounts("default")
	created(t, "an account", func(ctx context.Context) error {
		_, err := accounts.Create(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "steady"}}, metav1.CreateOptions{})
		return err
	})
	created(t, "its rights", func(ctx context.Context) error {
		_, err := r.client.RbacV1().ClusterRoleBindings().Create(ctx, &rbacv1.ClusterRoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: "steady"}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "view"},
			Subjects: []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Name: "steady", Namespace: "default"}},
		}, metav1.CreateOptions{})
		return err
	})
	token := ""
	created(t, "a token", func(ctx context.Context) error {
		got, err := accounts.CreateToken(ctx, "steady", &authenticationv1.TokenRequest{
			Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: new(int64(3600))},
		}, metav1.CreateOptions{})
		if err == nil {
			token = got.Status.Token
		}
		return err
	})
	secure, err := clientrest.TLSConfigFor(&clientrest.Config{
		TLSClientConfig: clientrest.TLSClientConfig{ServerName: "kubernetes", CAData: []byte(r.old[authorityFiles()[0]])},
	})
	lab.Must(t, err)
	config := &clientrest.Config{
		Host: "https://127.0.0.1:7443", BearerToken: token, Timeout: 20 * time.Second, QPS: -1,
		// A new connection each time: an old one would prove nothing.
		Transport: &http.Transport{DialContext: n.Dial, TLSClientConfig: secure, DisableKeepAlives: true},
	}
	s := &patient{ended: make(chan struct{})}
	lab.Until(t, patience, "see it let in", func(ctx context.Context) error { // API servers hear of its rights one after the other
		for _, head := range r.heads {
			direct := *config
			direct.Host = "https://" + head.IP.String() + ":6443"
			if err := ask(ctx, &direct); err != nil {
				return err
			}
		}
		return ask(ctx, config)
	})
	ctx, s.stop = context.WithCancel(ctx)
	go s.run(ctx, config)
	t.Cleanup(s.end)
	return s
}

func (s *patient) end() {
	s.stop()
	<-s.ended
}

// run asks until ctx ends.
func (s *patient) run(ctx context.Context, config *clientrest.Config) {
	defer close(s.ended)
	pace := time.NewTicker(200 * time.Millisecond)
	defer pace.Stop()
	for ctx.Err() == nil {
		s.note(ctx, ask(ctx, config))
		<-pace.C
	}
}

// ask asks the API for something.
func ask(ctx context.Context, config *clientrest.Config) error {
	client, err := kubernetes.NewForConfig(config)
	if err == nil {
		_, err = client.CoreV1().Services("default").List(ctx, metav1.ListOptions{Limit: 1})
	}
	return err
}

// note takes in an answer. A connection that a server which ends has cut is tried
// again by whoever made it.
func (s *patient) note(ctx context.Context, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil {
		s.asked++
	}
	if untrusted := new(x509.UnknownAuthorityError); errors.As(err, untrusted) || apierrors.IsUnauthorized(err) || apierrors.IsForbidden(err) {
		if ctx.Err() == nil {
			s.refused = append(s.refused, time.Now().Format(time.TimeOnly)+" "+err.Error())
		}
	}
}

// checkSteady wants the workload to be at it, and never to have been sent away.
func checkSteady(t *testing.T, r *rotating) {
	s := r.pod
	s.mu.Lock()
	before := s.asked
	s.mu.Unlock()
	lab.Until(t, patience, "see it ask on", func(context.Context) error {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.asked < before+5 {
			return fmt.Errorf("asked %d times", s.asked)
		}
		return nil
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.refused) > 0 {
		t.Errorf("it was sent away %d times, at first: %q", len(s.refused), s.refused[:min(3, len(s.refused))])
	}
}

// checkReached has the API servers call node agents.
func checkReached(t *testing.T, r *rotating) {
	for _, head := range r.heads {
		lab.Until(t, patience, "run something in a pod through "+head.Name, func(ctx context.Context) error {
			for _, args := range [][]string{{"exec", "box", "--", "/testbox", "id"}, {"logs", "box"}} {
				out, err := head.Try(ctx, append([]string{
					lab.Component(t, "bin/kubectl"), "--kubeconfig", adminConf, "--server", "https://" + head.IP.String() + ":6443",
				}, args...)...)
				if err == nil && out.Code != 0 {
					err = errors.New(out.Stderr)
				}
				if err != nil {
					return err
				}
			}
			return nil
		})
	}
}

// checkJoinsRotated has one more node join, by what a control plane says now.
func checkJoinsRotated(t *testing.T, r *rotating) {
	late := furnished(t, r.lan, "w2")
	command := strings.Fields(r.heads[1].Boot(t, "token", "create", "--print-join-command"))
	late.Boot(t, command[1:]...)
	r.client = r.newClient(t)
	r.awaitNodes(t, late)
	if got, want := late.ReadFile(t, authorityFiles()[0]), r.heads[0].ReadFile(t, authorityFiles()[0]); strings.TrimSpace(got) != strings.TrimSpace(want) {
		t.Errorf("it trusts\n%s", got)
	}
}
